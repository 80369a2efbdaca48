"""Text generation. Its port is `servekit.chat.model.ChatModel`; the loaders of its models, by runtime."""

RUNTIMES = {
    "llamacpp": "services.generation.generate_text.models.llama_cpp:load",
    "vllm": "services.generation.generate_text.models.vllm:load",
    "fake": "services.generation.generate_text.models.fake:load",
}
