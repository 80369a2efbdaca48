"""Anomalous sound detection: the RPCs of the anomaly service."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray
from polyphony.speech.v1 import anomaly_pb2 as pb
from polyphony.type.v1.media_pb2 import Media
from threadpoolctl import threadpool_limits

from servekit.media.objects import ObjectStore
from servekit.rpc.bounds import FALSE_ALARM_RATE, check_name, within
from servekit.rpc.context import CancellationToken, current
from servekit.rpc.errors import FailedPrecondition, InvalidArgument, Overloaded, TooLarge
from services.speech.audio.recording import Recordings, through
from services.speech.settings import SpeechSettings
from services.speech.sounds.features import Sound, hear
from services.speech.sounds.fitting import fit_classes, fit_normal
from services.speech.sounds.models import NormalSounds, SoundClasses
from services.speech.sounds.store import SoundRecord, SoundStore
from services.speech.spans import span

DEFAULT_RATE = 0.01
LEAST_NORMAL = 5  # clips, for each to be judged by others
LEAST_STRETCHES = 20
LEAST_LABELLED = 2  # clips of a class
MAX_LABEL = 64  # characters
WAITING = 64  # calls that may wait for their turn
PATIENCE_SECONDS = 1.0

Params = ParamSpec("Params")
Result = TypeVar("Result")


class Sounds:
    """The RPCs.

    Args:
        recordings: Opens recordings.
        store: Where models are.
        settings: How many clips, seconds and classes there may be.
    """

    def __init__(self, recordings: Recordings, store: ObjectStore, settings: SpeechSettings) -> None:
        self._recordings, self._settings = recordings, settings
        self._models = SoundStore(store, settings)
        self._turns = asyncio.Semaphore(settings.anomaly_slots)
        self._waiting = 0

    async def fit(self, request: pb.TrainAnomalyDetectorRequest) -> pb.TrainAnomalyDetectorResponse:
        """Learn a model from clips, and keep it.

        Raises:
            InvalidArgument: A field is wrong, or there are too few clips; it says how many are needed.
            TooLarge: There are too many clips, seconds or classes.
            Overloaded: Too many wait for their turn.
        """
        name, rate = check_name(request.name), _rate(request.false_alarm_rate)
        labels = self._labels(request)
        await self._models.check_room(current().tenant, name)
        async with self._turn() as cancellation:
            sounds: list[Sound] = []
            for number, clip in enumerate(request.clips):
                sounds.append(await self._hear(clip.audio, f"clips[{number}].audio", cancellation))
                if sum(sound.seconds for sound in sounds) > self._settings.max_anomaly_audio_seconds:
                    raise TooLarge(
                        f"more than {self._settings.max_anomaly_audio_seconds:g} seconds of clips", field="clips"
                    )
            features = [sound.features for sound in sounds]
            fitted: NormalSounds | SoundClasses
            if labels:
                fitted, macro_f1 = await through(_alone, fit_classes, features, labels, cancellation)
            else:
                if sum(map(len, features)) < LEAST_STRETCHES:
                    raise InvalidArgument(
                        f"{sum(sound.seconds for sound in sounds):.0f} seconds of clips; {LEAST_STRETCHES} or more are "
                        "needed to learn what is normal: send more or longer clips",
                        field="clips",
                    )
                fitted, macro_f1 = await through(_alone, fit_normal, features, rate, cancellation), None
        record = SoundRecord(
            name=name,
            version=0,
            classes=tuple(sorted(set(labels))),
            threshold=fitted.threshold if isinstance(fitted, NormalSounds) else 0.0,
            clips=len(sounds),
            seconds=sum(sound.seconds for sound in sounds),
            macro_f1=macro_f1,
        )
        return pb.TrainAnomalyDetectorResponse(
            anomaly_detector=_message(await self._models.add(current().tenant, record, fitted))
        )

    async def known(self) -> pb.ListAnomalyDetectorsResponse:
        """The tenant's models."""
        return pb.ListAnomalyDetectorsResponse(
            anomaly_detectors=map(_message, await self._models.last(current().tenant))
        )

    async def delete(self, request: pb.DeleteAnomalyDetectorRequest) -> pb.DeleteAnomalyDetectorResponse:
        """Delete a model.

        Raises:
            NotFound: This tenant has no such model.
        """
        await self._models.delete(current().tenant, request.name)
        return pb.DeleteAnomalyDetectorResponse()

    async def score(self, request: pb.DetectAnomalyRequest) -> pb.DetectAnomalyResponse:
        """Tell how unlike what is normal a recording is.

        Raises:
            NotFound: This tenant has no such model.
            FailedPrecondition: The model classifies.
            InvalidArgument: The recording cannot be heard.
        """
        record, fitted = await self._models.get(current().tenant, request.name, request.version)
        if not isinstance(fitted, NormalSounds):
            raise FailedPrecondition(f"{record.name} knows classes: ask ClassifySound", field="name")
        async with self._turn() as cancellation:
            sound = await self._hear(request.audio, "audio", cancellation)
        scores = fitted.scores(sound.features)
        whole = fitted.whole(scores)
        return pb.DetectAnomalyResponse(
            score=whole,
            threshold=fitted.threshold,
            anomalous=whole >= fitted.threshold,
            segments=[
                pb.ScoredSegment(time=span(*time), score=score)
                for time, score in zip(sound.times.tolist(), scores.tolist(), strict=True)
            ],
            version=record.version,
        )

    async def classify(self, request: pb.ClassifySoundRequest) -> pb.ClassifySoundResponse:
        """Tell which class a recording is.

        Raises:
            NotFound: This tenant has no such model.
            FailedPrecondition: The model scores.
            InvalidArgument: The recording cannot be heard.
        """
        record, fitted = await self._models.get(current().tenant, request.name, request.version)
        if not isinstance(fitted, SoundClasses):
            raise FailedPrecondition(f"{record.name} has no classes, it scores: ask DetectAnomaly", field="name")
        async with self._turn() as cancellation:
            sound = await self._hear(request.audio, "audio", cancellation)
        probabilities = fitted.probabilities(sound.features)
        whole = sorted(zip(probabilities.mean(axis=0).tolist(), fitted.labels, strict=True), key=lambda row: -row[0])
        return pb.ClassifySoundResponse(
            classes=[pb.SoundClass(label=label, probability=probability) for probability, label in whole],
            segments=[
                pb.ClassifiedSegment(time=span(*time), sound_class=_likeliest(row, fitted.labels))
                for time, row in zip(sound.times.tolist(), probabilities, strict=True)
            ],
            version=record.version,
        )

    def _labels(self, request: pb.TrainAnomalyDetectorRequest) -> list[str]:
        """The label of each clip; none where all are normal."""
        if len(request.clips) > self._settings.max_training_clips:
            raise TooLarge(
                f"{len(request.clips)} clips, at most {self._settings.max_training_clips} are accepted", field="clips"
            )
        labels = [clip.label for clip in request.clips]
        if not any(labels):
            if len(labels) < LEAST_NORMAL:
                raise InvalidArgument(
                    f"{len(labels)} clips; {LEAST_NORMAL} or more are needed, since each is judged by what the others "
                    "say: send more, or cut a long one",
                    field="clips",
                )
            return []
        for number, label in enumerate(labels):
            if not label.strip() or len(label) > MAX_LABEL or not label.isprintable():
                raise InvalidArgument(
                    f"a label has 1 to {MAX_LABEL} printable characters, and each clip has one or none has",
                    field=f"clips[{number}].label",
                )
        classes = set(labels)
        if len(classes) > self._settings.max_anomaly_classes:
            raise TooLarge(
                f"{len(classes)} classes, at most {self._settings.max_anomaly_classes} are accepted", field="clips"
            )
        if len(classes) == 1:
            raise InvalidArgument(
                f"all clips are {labels[0]!r}: send a second class, or no labels to learn what is normal", field="clips"
            )
        for label in sorted(classes):
            if labels.count(label) < LEAST_LABELLED:
                raise InvalidArgument(
                    f"{label!r} has one clip; send {LEAST_LABELLED} or more of each class", field="clips"
                )
        return labels

    async def _hear(self, audio: Media, field: str, cancellation: CancellationToken) -> Sound:
        async with self._recordings.open(audio, field, self._settings.max_anomaly_audio_seconds) as recording:
            sound = await through(hear, recording.samples(), cancellation)
        if not len(sound.features):
            raise InvalidArgument(f"{sound.seconds:.2g} s of sound; a third of a second is needed", field=field)
        return sound

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[CancellationToken]:
        """Wait until the machine is free for one more."""
        if self._waiting >= WAITING:
            raise Overloaded(f"{WAITING} sounds wait to be heard, no more", retry_after=PATIENCE_SECONDS)
        self._waiting += 1
        try:
            async with self._turns:
                cancellation = current().cancellation
                cancellation.raise_if_cancelled()
                yield cancellation
        finally:
            self._waiting -= 1


def _alone(fit: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
    """Fit on this thread alone: the algebra is small, and more threads would take the cores from the engines."""
    with threadpool_limits(limits=1):
        return fit(*args, **kwargs)


def _rate(rate: float) -> float:
    return within(round(rate, 6), *FALSE_ALARM_RATE, "false_alarm_rate") if rate else DEFAULT_RATE


def _likeliest(probabilities: NDArray[np.float32], labels: Sequence[str]) -> pb.SoundClass:
    best = int(probabilities.argmax())
    return pb.SoundClass(label=labels[best], probability=float(probabilities[best]))


def _message(record: SoundRecord) -> pb.AnomalyDetector:
    created = Timestamp()
    created.FromMilliseconds(int(record.created * 1000))
    return pb.AnomalyDetector(
        name=record.name,
        version=record.version,
        classes=record.classes,
        threshold=record.threshold,
        clip_count=record.clips,
        duration_seconds=record.seconds,
        macro_f1=record.macro_f1,
        create_time=created,
    )
