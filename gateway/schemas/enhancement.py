"""Requests and responses of `/v1/audio/enhance`."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from servekit.rpc.bounds import LOUDNESS_LUFS


class EnhanceForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The form fields next to the `file` of a recording to enhance.

    `answer`: `audio` for the audio, streamed; `json` for the measurements, and the audio as a file.
    """

    model: str = ""
    keep_noise: bool = False
    loudness_lufs: Annotated[float, Meta(ge=LOUDNESS_LUFS[0], le=LOUDNESS_LUFS[1])] | None = None
    trim_silence: bool = False
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "wav"
    answer: Literal["audio", "json"] = "audio"


class KeptSpan(Struct):
    """A part of the original that is kept; times in seconds."""

    start: float
    end: float


class EnhancementAnswer(Struct, kw_only=True):
    """The measurements of an enhancement. `file_id` names the audio, which expires after an hour. A value that cannot
    be measured is absent."""

    file_id: str
    bytes: int
    expires_at: int
    model: str
    sample_rate: int
    duration_before: float
    duration_after: float
    snr_before: float | UnsetType = UNSET
    snr_after: float | UnsetType = UNSET
    loudness_before: float | UnsetType = UNSET
    loudness_after: float | UnsetType = UNSET
    kept: list[KeptSpan]
