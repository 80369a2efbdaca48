"""Audio encoding: samples to a file or a stream of any common audio type."""

from io import BytesIO
from typing import IO, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from servekit.echo import cut
from servekit.errors import InvalidArgument

# MIME type -> muxer, encoder, and the muxer's options for a stream, in which it cannot correct its header.
_TYPES: dict[str, tuple[str, str, dict[str, str]]] = {
    "audio/pcm": ("s16le", "pcm_s16le", {}),
    "audio/wav": ("wav", "pcm_s16le", {}),
    "audio/mpeg": ("mp3", "libmp3lame", {"id3v2_version": "0", "write_xing": "0"}),
    "audio/flac": ("flac", "flac", {}),
    "audio/opus": ("ogg", "libopus", {"page_duration": "100000"}),
    "audio/aac": ("adts", "aac", {}),
}
AUDIO_TYPES = tuple(_TYPES)


class _Pipe:
    """A sink that cannot seek, so that the muxer writes headers that need no correction."""

    def __init__(self) -> None:
        self._written = bytearray()

    def seekable(self) -> bool:
        return False

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


class AudioEncoder:
    """Encodes mono samples as a stream. It must not be used by two threads at once.

    A WAV header states 0xFFFFFFFF bytes, as is usual where the length is unknown. If the codec does not support the
    sample rate, the next higher one is used.

    Args:
        mime_type: One of `AUDIO_TYPES`; `audio/pcm` is signed 16-bit little-endian, `audio/opus` is in Ogg.
        sample_rate: The sample rate in Hz.

    Raises:
        InvalidArgument: The type or the sample rate is not supported.
    """

    def __init__(self, mime_type: str, sample_rate: int) -> None:
        self.mime_type = mime_type
        self.sample_rate = sample_rate
        self._pipe = _Pipe()
        self._writer = _Writer(cast("IO[bytes]", self._pipe), mime_type, sample_rate)

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        """Encode float32 `[samples]` in [-1, 1]; return the bytes that are complete, often none, as codecs buffer."""
        self._writer.write(samples)
        return self._pipe.take()

    def finish(self) -> bytes:
        """Return the remaining bytes. Nothing may be encoded afterwards."""
        self._writer.close()
        return self._pipe.take()


def encode_audio(samples: NDArray[np.float32], mime_type: str, sample_rate: int) -> bytes:
    """Encode float32 `[samples]` as a whole file, whose header states its length."""
    file = BytesIO()
    writer = _Writer(file, mime_type, sample_rate)
    writer.write(samples)
    writer.close()
    return file.getvalue()


class _Writer:
    def __init__(self, sink: IO[bytes], mime_type: str, sample_rate: int) -> None:
        if mime_type not in _TYPES:
            message = f"mime_type must be one of {', '.join(_TYPES)}, got {cut(mime_type)!r}"
            raise InvalidArgument(message, field="mime_type")
        if not 8_000 <= sample_rate <= 192_000:
            message = f"sample_rate must be in [8000, 192000], got {sample_rate}"
            raise InvalidArgument(message, field="sample_rate")
        muxer, encoder, streaming = _TYPES[mime_type]
        options = {"fflags": "+bitexact"} | ({} if sink.seekable() else streaming)
        rates = sorted(av.Codec(encoder, "w").audio_rates or [sample_rate])
        rate = next((rate for rate in rates if rate >= sample_rate), rates[-1])
        self._sample_rate = sample_rate
        self._container = av.open(sink, mode="w", format=muxer, container_options=options)
        self._stream = cast("AudioStream", self._container.add_stream(encoder, rate=rate, layout="mono"))
        self._container.start_encoding()

    def write(self, samples: NDArray[np.float32]) -> None:
        if not len(samples):
            return
        mono = np.clip(np.asarray(samples, dtype=np.float32), -1.0, 1.0).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono), format="flt", layout="mono")
        frame.sample_rate = self._sample_rate
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()
