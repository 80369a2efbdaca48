"""Text of a caller that an error or a log line repeats, cut to a bound."""

MAX_ECHO = 80  # characters of one value in a message
MAX_NAME = 256  # characters of a name that is looked up; a longer name is not found


def cut(text: str, limit: int = MAX_ECHO) -> str:
    """The first `limit` characters of a text, with an ellipsis where some are left out."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def cut_bytes(text: str, limit: int) -> str:
    """As `cut`, by UTF-8 bytes, the ellipsis included; what UTF-8 cannot encode becomes a question mark."""
    if len(text) <= limit // 4 and text.isascii():
        return text
    encoded = text[: limit + 1].encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return f"{encoded[: limit - 3].decode(errors='ignore')}…"
