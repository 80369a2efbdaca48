"""Requests and responses of `/v1/audio/sound_models`."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from servekit.rpc.bounds import FALSE_ALARM_RATE


class FitForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The form fields next to the files of a sound model, which are its clips.

    `labels`: one for each file, in their order, for a classifier; none for an anomaly detector of normal clips.
    """

    name: str
    labels: list[str] = []
    false_alarm_rate: Annotated[float, Meta(ge=FALSE_ALARM_RATE[0], le=FALSE_ALARM_RATE[1])] = 0.01


class SoundForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The form fields next to the `file` of a recording; `version` 0 is the last version of the model."""

    version: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


class SoundModel(Struct, kw_only=True):
    """A sound model: `threshold` of an anomaly detector, `classes` of a classifier."""

    name: str
    version: int
    created_at: int
    clips: int
    seconds: float
    classes: list[str]
    threshold: float | UnsetType = UNSET
    macro_f1: float | UnsetType = UNSET
    object: str = "sound_model"


class SoundModelList(Struct):
    """The sound models, each in its last version, by name."""

    data: list[SoundModel]
    object: str = "list"


class DeletedModel(Struct):
    """The sound model whose versions were deleted."""

    name: str
    object: str = "sound_model"
    deleted: bool = True


class ScoredSpan(Struct):
    """The anomaly score of one window; times in seconds."""

    start: float
    end: float
    score: float


class SoundScore(Struct):
    """The anomaly score of a recording: higher is more anomalous."""

    score: float
    threshold: float
    anomalous: bool
    stretches: list[ScoredSpan]
    version: int


class SoundClass(Struct):
    """A class and its probability."""

    label: str
    probability: float


class ClassifiedSpan(Struct):
    """The most likely class of one window; times in seconds."""

    start: float
    end: float
    label: str
    probability: float


class SoundClassification(Struct):
    """The classes of a recording, the most likely first."""

    classes: list[SoundClass]
    stretches: list[ClassifiedSpan]
    version: int
