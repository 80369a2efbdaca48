"""Loads text models in GGUF into llama.cpp."""

from servekit.chat.llama_cpp import LlamaCppChatModel, LlamaCppConfig
from servekit.models.catalogue import ModelSpec
from services.generation.settings import GenerationSettings


def load(spec: ModelSpec, settings: GenerationSettings) -> LlamaCppChatModel:
    """Load the model of a spec; `options` give its sampling defaults, `limits` its window.

    Raises:
        FailedPrecondition: The weights cannot be loaded.
    """
    return LlamaCppChatModel(
        LlamaCppConfig(
            weights=spec.folder(settings.models_dir) / spec.files[0].path,
            window_tokens=int(spec.limits["window_tokens"]),
            max_prompt_bytes=settings.max_prompt_bytes,
            slots=settings.slots,
            threads=settings.threads,
            decode_threads=settings.decode_threads or max(1, settings.threads // 2),
            prefill_chunk_tokens=settings.prefill_chunk_tokens,
            temperature=float(spec.options["temperature"]),
            top_p=float(spec.options["top_p"]),
        )
    )
