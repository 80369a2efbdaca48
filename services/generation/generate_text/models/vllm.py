"""Reaches text models on a vLLM server."""

from servekit.chat.vllm import VllmChatModel
from servekit.errors import FailedPrecondition
from servekit.models.catalogue import ModelSpec
from services.generation.settings import GenerationSettings


def load(spec: ModelSpec, settings: GenerationSettings) -> VllmChatModel:
    """Connect to the server at `settings.vllm_url`.

    The spec's `options.served_as` is the model's name there, and `options.separator` a special token of the model.

    Raises:
        FailedPrecondition: The URL of the server is not set.
    """
    if not settings.vllm_url:
        raise FailedPrecondition(f"{spec.id} runs on vLLM: the URL of its server must be set", field="vllm_url")
    return VllmChatModel(
        settings.vllm_url,
        str(spec.options.get("served_as", spec.id)),
        max_prompt_bytes=settings.max_prompt_bytes,
        window_tokens=int(spec.limits["window_tokens"]),
        separator=str(spec.options["separator"]),
    )
