"""Base64, decoded piece by piece: to decode tens of megabytes at once would stop the event loop."""

import binascii


class Base64Decoder:
    r"""Decodes a base64 text of JSON, in which `\/` stands for `/`.

    Attributes:
        pieces: The decoded bytes.
        error: Why the text is invalid; empty while it is valid.
    """

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.error = ""
        self._rest = b""
        self._is_padded = False

    def feed(self, text: bytes) -> None:
        """Decode the next piece of the text."""
        text = self._rest + text
        if b"\\" in text:
            text = text.replace(b"\\/", b"/")
        end = (len(text) - text.endswith(b"\\")) & ~3  # four characters are three bytes
        self._rest = text[end:]
        self._decode(text[:end])

    def finish(self) -> None:
        """Decode what remains at the end of the text."""
        self._decode(self._rest)
        self._rest = b""

    def _decode(self, text: bytes) -> None:
        if self.error or not text:
            return
        try:
            if self._is_padded:
                raise binascii.Error("Excess data after padding")
            self.pieces.append(binascii.a2b_base64(text, strict_mode=True))
        except binascii.Error as error:
            self.error = str(error)
            self.pieces.clear()
        self._is_padded = text.endswith(b"=")
