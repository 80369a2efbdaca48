"""Live transcription over a WebSocket, in OpenAI's events of a session."""
