"""Text generation, on the port `servekit.chat.model.ChatModel`."""
