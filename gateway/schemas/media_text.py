"""The text that names a medium in JSON."""

from collections.abc import Sequence


class MediaText:
    """A data URL, base64, an http(s) URL or a file id. Long base64 is decoded while the body arrives.

    Not a dataclass, which msgspec would take for an object of JSON.

    Attributes:
        text: The text; without its base64 where that was decoded.
        content: The decoded bytes in pieces; None where `text` is whole.
        error: Why the base64 is invalid; empty if it is valid.
    """

    __slots__ = ("content", "error", "text")

    def __init__(self, text: str, content: Sequence[bytes] | None = None, error: str = "") -> None:
        self.text, self.content, self.error = text, content, error
