"""Audio decoding: the bytes of an audio or video file to mono samples, within bounds."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import BinaryIO

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from servekit.errors import InvalidArgument, TooLarge, UnsupportedMedia

# The demuxers of self-contained files. Playlists (hls, dash, concat, sdp) would open other files and URLs.
_OPEN_OPTIONS = {
    "format_whitelist": "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,loas,matroska,mov,mp3,mpeg,mpegts,ogg,"
    "tta,w64,wav,wv",
    "protocol_whitelist": "none",
}

_MIX = {"rematrix_maxval": "1"}  # the mean of the channels rather than their sum, which clips
_SAMPLE_RATES = range(2_000, 768_001)  # in Hz; at others, one resampled packet can take too much memory
_MAX_CHANNELS = 8  # libav mixes more than 7.1 only for some numbers of channels


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """The largest recording that is decoded.

    Attributes:
        max_bytes: The most bytes of the file.
        max_seconds: The longest duration, by the number of decoded samples.
    """

    max_bytes: int = 64 << 20
    max_seconds: float = 3600.0


def decode_audio(data: bytes, limits: AudioLimits, field: str, rate: int = 16_000) -> NDArray[np.float32]:
    """Decode a whole recording as `audio_chunks` does, into one array, float32 `[samples]`."""
    return np.concatenate(list(audio_chunks(data, limits, field, rate)))


def pcm_samples(data: bytes) -> NDArray[np.float32]:
    """The samples of `audio/pcm`, 16-bit little-endian mono: (samples,) in [-1, 1); `data` has whole samples."""
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)


def audio_chunks(
    source: BinaryIO | bytes, limits: AudioLimits, field: str, rate: int = 16_000
) -> Iterator[NDArray[np.float32]]:
    """Decode the first audio track of any common container, mixed to mono, packet by packet.

    The file is read while it is decoded and is never whole in memory. Damaged packets are skipped, as players do; a
    truncated file ends where it was truncated.

    Yields:
        float32 `[samples]` in [-1, 1] at `rate` Hz; at least one chunk, which is empty if resampling leaves no sample.

    Raises:
        InvalidArgument: The file is empty, or a sample is NaN or infinite.
        TooLarge: The file exceeds `limits`; too many seconds are found only while they are decoded.
        UnsupportedMedia: The file is no audio or video, has no audio track, has no sample that can be decoded, or has
            too many channels.
    """
    file = BytesIO(source) if isinstance(source, bytes) else source
    size = _size(file)
    if not size:
        raise InvalidArgument("the recording is empty", field=field)
    if size > limits.max_bytes:
        raise TooLarge(f"the recording must have at most {limits.max_bytes} bytes, got {size}", field=field)
    samples_left = int(limits.max_seconds * rate)
    is_decoded = False
    try:
        with _open(file) as container:
            tracks = [track for track in container.streams.audio if track.codec_context]
            if not tracks:
                raise UnsupportedMedia("the recording must have an audio track of a known codec", field=field)
            for samples in _resample(_frames(container, tracks[0]), rate, field):
                samples_left -= len(samples)
                if samples_left < 0:
                    raise TooLarge(f"the recording must have at most {limits.max_seconds:g} seconds", field=field)
                if not np.isfinite(samples).all():
                    raise InvalidArgument("every sample of the recording must be finite", field=field)
                is_decoded = True
                yield np.clip(samples, -1.0, 1.0)
    except (av.FFmpegError, ValueError) as error:
        raise UnsupportedMedia("the recording must be in a format that can be decoded", field=field) from error
    if not is_decoded:
        raise UnsupportedMedia("no sample of the recording can be decoded", field=field)


def claimed_seconds(source: BinaryIO | bytes) -> float:
    """Return the duration that the header of a recording states; 0 if it states none.

    It serves as an estimate of cost and must not be used as a bound. It is at most what the bytes hold at 4 kbit/s.
    """
    file = BytesIO(source) if isinstance(source, bytes) else source
    size = _size(file)
    try:
        with _open(file) as container:
            claimed = (container.duration or 0) / av.time_base
    except (av.FFmpegError, ValueError):
        return 0.0
    return min(max(claimed, 0.0), size / 500)


def _size(file: BinaryIO) -> int:
    """Return the size of a file in bytes, and go back to its beginning."""
    size = file.seek(0, SEEK_END)
    file.seek(0)
    return size


def _open(file: BinaryIO) -> InputContainer:
    return av.open(file, mode="r", container_options=_OPEN_OPTIONS, metadata_errors="replace")


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """Yield the frames of a stream without the damaged ones."""
    stream.codec_context.thread_count = 1
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        yield from frames


def _resample(frames: Iterator[av.AudioFrame], rate: int, field: str) -> Iterator[NDArray[np.float32]]:
    """Yield frames as mono float arrays at `rate`; the format may change between two frames."""
    resampler: av.AudioResampler | None = None
    source = None
    for frame in frames:
        if frame.sample_rate not in _SAMPLE_RATES:
            least, most = _SAMPLE_RATES[0], _SAMPLE_RATES[-1]
            message = f"the sample rate must be in [{least}, {most}] Hz, got {frame.sample_rate}"
            raise UnsupportedMedia(message, field=field)
        frame.pts = None
        changed = source != (source := (frame.sample_rate, frame.layout.name, frame.format.name))
        if resampler is None or changed:
            if resampler is not None:
                yield from _arrays(resampler.resample(None))
            else:
                yield np.zeros(0, np.float32)  # resampling may leave no sample of a very short recording
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate, options=_MIX)
        yield from _arrays(_resampled(resampler, frame, field))
    if resampler is not None:
        yield from _arrays(resampler.resample(None))


def _resampled(resampler: av.AudioResampler, frame: av.AudioFrame, field: str) -> list[av.AudioFrame]:
    try:
        return resampler.resample(frame)
    except av.ArgumentError as error:
        channels = frame.layout.nb_channels
        if channels <= _MAX_CHANNELS:
            raise
        message = f"the recording must have at most {_MAX_CHANNELS} channels, got {channels}"
        raise UnsupportedMedia(message, field=field) from error


def _arrays(frames: list[av.AudioFrame]) -> Iterator[NDArray[np.float32]]:
    for frame in frames:
        if frame and frame.samples:  # a resampler that was not needed returns the None that flushes it
            yield frame.to_ndarray().reshape(-1).astype(np.float32, copy=False)
