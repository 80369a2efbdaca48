"""The task table of the vision service."""

from servekit.tasks.task import BatchConfig, TaskSpec
from services.vision.read_text import TextRecognizer
from services.vision.settings import VisionSettings


def tasks(settings: VisionSettings) -> tuple[TaskSpec, ...]:
    """The tasks of the service, scheduled as its settings say."""
    return (
        TaskSpec(
            name="read_text",
            port=TextRecognizer,
            runtimes={
                "ppocr": "services.vision.read_text.models.ppocr:load",
                "fake": "services.vision.read_text.models.fake:load",
            },
            scheduler=BatchConfig(
                cost_unit="megapixels",
                max_batch_cost=settings.max_batch_megapixels,
                max_queue_cost=settings.max_queue_megapixels,
                threads=settings.threads,
            ),
            network_threads=1,
        ),
    )
