"""What `/v1/audio/sound_models` takes and gives."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from servekit.rpc.bounds import FALSE_ALARM_RATE


class FitForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The small fields beside the files of a sound model, which are its clips.

    `labels`: one for each file, in their order, and the model classifies; none, and all are normal, and it scores.
    """

    name: str
    labels: list[str] = []
    false_alarm_rate: Annotated[float, Meta(ge=FALSE_ALARM_RATE[0], le=FALSE_ALARM_RATE[1])] = 0.01


class SoundForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The small fields beside the `file` of a recording to judge; `version` 0 is the model's last."""

    version: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


class SoundModel(Struct, kw_only=True):
    """A model of sounds; `threshold` where it scores, `classes` where it classifies."""

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
    """Each model in its last version, by name."""

    data: list[SoundModel]
    object: str = "list"


class DeletedModel(Struct):
    """What was deleted, all its versions."""

    name: str
    object: str = "sound_model"
    deleted: bool = True


class ScoredSpan(Struct):
    """How unlike a stretch is; times in seconds."""

    start: float
    end: float
    score: float


class SoundScore(Struct):
    """How unlike what is normal a recording is: the higher, the more."""

    score: float
    threshold: float
    anomalous: bool
    stretches: list[ScoredSpan]
    version: int


class SoundClass(Struct):
    """A class, and how probable it is."""

    label: str
    probability: float


class ClassifiedSpan(Struct):
    """The likeliest class of a stretch; times in seconds."""

    start: float
    end: float
    label: str
    probability: float


class SoundClassification(Struct):
    """What a recording is, the likeliest class first."""

    classes: list[SoundClass]
    stretches: list[ClassifiedSpan]
    version: int
