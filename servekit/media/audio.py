"""Sound: the bytes of a recording or a film to mono samples, within bounds."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import BinaryIO

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from servekit.rpc.errors import InvalidArgument, TooLarge, UnsupportedMedia

# Demuxers of self-contained files. Playlists (hls, dash, concat, sdp) would open other files and addresses.
_OPEN_OPTIONS = {
    "format_whitelist": "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,loas,matroska,mov,mp3,mpeg,mpegts,ogg,"
    "tta,w64,wav,wv",
    "protocol_whitelist": "none",
}

# The mean of the channels, rather than a sum that clips.
_MIX = {"rematrix_maxval": "1"}

# Outside of this a single packet can grow beyond reason when resampled.
_RATES = range(2_000, 768_001)

# Of more than 7.1, libav mixes some numbers and not others.
_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """The longest recording that is decoded.

    Attributes:
        max_bytes: Of the file.
        max_seconds: Of sound, counted in the samples that come out.
    """

    max_bytes: int = 64 << 20
    max_seconds: float = 3600.0


def decode_audio(data: bytes, limits: AudioLimits, field: str, rate: int = 16_000) -> NDArray[np.float32]:
    """All of `audio_chunks` in one array, (samples,)."""
    return np.concatenate(list(audio_chunks(data, limits, field, rate)))


def audio_chunks(
    source: BinaryIO | bytes, limits: AudioLimits, field: str, rate: int = 16_000
) -> Iterator[NDArray[np.float32]]:
    """Decode the first audio track of any common container, mixed to mono, a packet at a time.

    A file is read as it is decoded and is never whole in memory. Damaged packets are left out, as a player does; a file
    that is cut short ends where it is cut.

    Yields:
        (samples,) in [-1, 1] at `rate` Hz; at least one chunk, empty where a few samples are too short for the rate.

    Raises:
        InvalidArgument: There are no bytes, or samples are NaN or infinite.
        TooLarge: More bytes than `limits`, or more seconds: raised when they have been decoded.
        UnsupportedMedia: Not a recording, without an audio track, with no sample that can be decoded, or with more
            channels than can be mixed.
    """
    file = BytesIO(source) if isinstance(source, bytes) else source
    size = _size(file)
    if not size:
        raise InvalidArgument("the recording is empty", field=field)
    if size > limits.max_bytes:
        raise TooLarge(f"the recording has {size} bytes, at most {limits.max_bytes} are accepted", field=field)
    left = int(limits.max_seconds * rate)
    heard = False
    try:
        with _open(file) as container:
            tracks = [track for track in container.streams.audio if track.codec_context]
            if not tracks:
                raise UnsupportedMedia("there is no audio track of a known codec", field=field)
            for samples in _resample(_frames(container, tracks[0]), rate, field):
                left -= len(samples)
                if left < 0:
                    raise TooLarge(f"more than {limits.max_seconds:g} seconds of sound", field=field)
                if not np.isfinite(samples).all():
                    raise InvalidArgument("the recording has samples that are NaN or infinite", field=field)
                heard = True
                yield np.clip(samples, -1.0, 1.0)
    except (av.FFmpegError, ValueError) as error:
        raise UnsupportedMedia("not a recording that can be decoded", field=field) from error
    if not heard:
        raise UnsupportedMedia("the recording has no sound in it", field=field)


def claimed_seconds(source: BinaryIO | bytes) -> float:
    """What a recording's header says of its length, 0 where it says nothing: a guess for queues, never a bound.

    It may say no more than fits into the bytes at 4 kbit/s.
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
    """How many bytes a file has; it is at its beginning afterwards."""
    size = file.seek(0, SEEK_END)
    file.seek(0)
    return size


def _open(file: BinaryIO) -> InputContainer:
    return av.open(file, mode="r", container_options=_OPEN_OPTIONS, metadata_errors="replace")


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """The frames of a stream, damaged ones left out."""
    stream.codec_context.thread_count = 1
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        yield from frames


def _resample(frames: Iterator[av.AudioFrame], rate: int, field: str) -> Iterator[NDArray[np.float32]]:
    """Frames of any format, which may change on the way, as mono float arrays at `rate`."""
    resampler: av.AudioResampler | None = None
    source = None
    for frame in frames:
        if frame.sample_rate not in _RATES:
            raise UnsupportedMedia(f"a sample rate of {frame.sample_rate} Hz", field=field)
        frame.pts = None
        changed = source != (source := (frame.sample_rate, frame.layout.name, frame.format.name))
        if resampler is None or changed:
            if resampler is not None:
                yield from _arrays(resampler.resample(None))
            else:
                yield np.zeros(0, np.float32)  # resampling may make nothing of a few samples
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate, options=_MIX)
        yield from _arrays(_resampled(resampler, frame, field))
    if resampler is not None:
        yield from _arrays(resampler.resample(None))


def _resampled(resampler: av.AudioResampler, frame: av.AudioFrame, field: str) -> list[av.AudioFrame]:
    try:
        return resampler.resample(frame)
    except av.ArgumentError as error:
        channels = frame.layout.nb_channels
        if channels <= _CHANNELS:
            raise
        raise UnsupportedMedia(f"{channels} channels, too many to be mixed: send fewer", field=field) from error


def _arrays(frames: list[av.AudioFrame]) -> Iterator[NDArray[np.float32]]:
    for frame in frames:
        if frame and frame.samples:  # a resampler with nothing to do hands back the None that flushes it
            yield frame.to_ndarray().reshape(-1).astype(np.float32, copy=False)
