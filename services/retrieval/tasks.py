"""The task table of the retrieval service."""

from servekit.tasks.task import BatchConfig, TaskSpec
from services.retrieval.embed import TextEmbedder
from services.retrieval.settings import RetrievalSettings


def tasks(settings: RetrievalSettings) -> tuple[TaskSpec, ...]:
    """The tasks of the service, scheduled as its settings say."""
    return (
        TaskSpec(
            name="embed",
            port=TextEmbedder,
            runtimes={
                "text-encoder": "services.retrieval.embed.models.text_encoder:load",
                "fake": "services.retrieval.embed.models.fake:load",
            },
            scheduler=BatchConfig(
                cost_unit="tokens",
                max_batch_cost=settings.max_batch_tokens,
                max_queue_cost=settings.max_queue_tokens,
                threads=settings.engines,
            ),
            network_threads=settings.engines,
        ),
    )
