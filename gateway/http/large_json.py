"""A large JSON body, whose media are taken out while it arrives."""

import re
import secrets
import string

import msgspec

from gateway.media.base64_decoder import Base64Decoder
from gateway.media.resolver import MAX_HEAD
from gateway.schemas.media_text import MediaText
from servekit.errors import InvalidArgument, TooLarge

MEDIA_BYTES = 256 << 10  # of base64; shorter texts stay in the JSON
REST_BYTES = 8 << 20  # of the JSON without media, which is decoded at once, in 20 ms at most
MAX_TOKENS = 250_000  # quotes, commas and opening brackets of the JSON without media, for the same reason

_BASE64 = (string.ascii_letters + string.digits + "+/=\\").encode()
_KEY = re.compile(rb'"([\w.-]{1,64})"\s*:\s*[\[\s]*"$')


class LargeJson:
    """The JSON without long base64 texts, and these as media.

    No base64 has a quote, so that a long run of bytes without one is either such a text or refused for its size.

    Attributes:
        rest: The JSON; a random text stands for each of the media.
        media: The media by the texts that stand for them.
    """

    def __init__(self) -> None:
        self.rest = bytearray()
        self.media: dict[str, MediaText] = {}
        self._keys: dict[str, str] = {}
        self._mark = secrets.token_hex(8)
        self._tokens = 0
        self._run = bytearray()  # the bytes since the last quote, until it is known whether they are base64
        self._head = b""
        self._decoder: Base64Decoder | None = None
        self._is_other = False  # whether the run is not base64

    def feed(self, piece: bytes) -> None:
        """Parse the next bytes of the body, fewer than `MEDIA_BYTES`.

        Raises:
            TooLarge: The body without media is too large.
            InvalidArgument: The head of a data URL is not a text of JSON.
        """
        first, last = piece.find(b'"'), piece.rfind(b'"')
        if first < 0:
            self._extend(piece)
        else:
            self._extend(piece[:first])
            self.end()
            self._keep(piece[first : last + 1])
            self._extend(piece[last + 1 :])

    def end(self) -> None:
        """End the run of bytes without a quote, and at last the body; raises as `feed` does."""
        if self._decoder is None:
            self._keep(self._run)
        else:
            self._decoder.finish()
            mark = f"{self._mark}{len(self.media)}"
            self.media[mark] = MediaText(_text(self._head), self._decoder.pieces, self._decoder.error)
            key = _KEY.search(self.rest[-128:])
            self._keys[mark] = key[1].decode() if key else "body"
            self._keep(mark.encode())
        self._run.clear()
        self._decoder, self._is_other = None, False

    def check_all_used(self) -> None:
        """Check that each of the media was where the request may have one: `media` is empty.

        Raises:
            TooLarge: A text that is no medium is as long as one.
        """
        for mark in self.media:
            key = self._keys[mark]
            raise TooLarge(f"{key} must have at most {MEDIA_BYTES} bytes", field=key)

    def _extend(self, data: bytes) -> None:
        if self._decoder is not None:
            self._decoder.feed(data)
        elif self._is_other:
            self._keep(data)
        else:
            self._run += data
            if len(self._run) > MEDIA_BYTES:
                self._begin_media()

    def _begin_media(self) -> None:
        """Decode the run if it is base64 or a data URL."""
        self._head = b""
        if self._run.startswith(b"data:"):
            self._head = bytes(self._run[: self._run.find(b",", 0, MAX_HEAD) + 1])
        if b"base64" in self._head[:-1].split(b";") or not self._run.translate(None, _BASE64):
            self._decoder = Base64Decoder()
            self._decoder.feed(bytes(self._run[len(self._head) :]))
        else:
            self._is_other = True
            self._keep(self._run)
        self._run.clear()

    def _keep(self, data: bytes | bytearray) -> None:
        self.rest += data
        self._tokens += sum(data.count(token) for token in b'",[{')
        if len(self.rest) > REST_BYTES:
            raise TooLarge(f"the body must have at most {REST_BYTES} bytes besides its media", field="body")
        if self._tokens > MAX_TOKENS:
            raise TooLarge(f"the body must have at most {MAX_TOKENS} quotes, commas and brackets", field="body")


def _text(encoded: bytes) -> str:
    r"""The text of a JSON string without its quotes, in which `\/` may stand for `/`."""
    try:
        return msgspec.json.decode(b'"%s"' % encoded, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"invalid JSON: {error}", field="body") from error
