"""The task table of the generation service."""

from servekit.chat.model import ChatModel
from servekit.tasks.task import StreamConfig, TaskSpec
from services.generation.settings import GenerationSettings


def tasks(settings: GenerationSettings) -> tuple[TaskSpec, ...]:
    """The tasks of the service, scheduled as its settings say."""
    return (
        TaskSpec(
            name="generate_text",
            port=ChatModel,
            runtimes={
                "llamacpp": "services.generation.generate_text.models.llama_cpp:load",
                "vllm": "services.generation.generate_text.models.vllm:load",
                "fake": "services.generation.generate_text.models.fake:load",
            },
            scheduler=StreamConfig(
                cost_unit="generated tokens", max_queue_cost=settings.max_queue_tokens, slots=settings.slots
            ),
        ),
    )
