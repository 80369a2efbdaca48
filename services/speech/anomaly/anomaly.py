"""Anomalous sound detection: the RPCs of the anomaly service."""

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray
from polyphony.speech.v1 import anomaly_pb2 as pb
from polyphony.type.v1.media_pb2 import Media

from servekit.context import current
from servekit.echo import cut
from servekit.errors import FailedPrecondition, InvalidArgument, TooLarge
from servekit.rpc.bounds import FALSE_ALARM_RATE, check_name, within
from servekit.scheduling.batch import BatchScheduler
from servekit.tasks.repository import Models
from services.speech.anomaly import SoundInput, SoundRequest, SoundResult, TrainedDetector, TrainingSet
from services.speech.anomaly.detectors import AnomalyScorer, SoundClassifier
from services.speech.anomaly.features import SoundFeatures
from services.speech.anomaly.store import DetectorRecord, DetectorStore
from services.speech.audio.recording import Recordings
from services.speech.settings import SpeechSettings
from services.speech.spans import span

DEFAULT_RATE = 0.01
MIN_NORMAL_CLIPS = 5  # for cross-validation
MIN_SEGMENTS = 20
MIN_LABELLED_CLIPS = 2  # clips of a class
MAX_LABEL = 64  # characters
CLIP_SECONDS = 10.0  # the expected duration of a clip, which training is admitted by
TRAINING_COST = 0.1  # of training, relative to the duration of the clips

SoundScheduler = BatchScheduler[SoundRequest, SoundResult]
Submit = Callable[[SoundRequest, float], Awaitable[SoundResult]]


class AnomalyDetection:
    """Trains, lists, deletes and runs anomaly detectors.

    Args:
        schedulers: The schedulers of the analyzers.
        recordings: Opens recordings.
        detectors: The stored detectors.
        settings: The limits of a request.
    """

    def __init__(
        self,
        schedulers: Models[SoundScheduler],
        recordings: Recordings,
        detectors: DetectorStore,
        settings: SpeechSettings,
    ) -> None:
        self._schedulers, self._recordings, self._settings = schedulers, recordings, settings
        self._detectors = detectors

    async def train(self, request: pb.TrainAnomalyDetectorRequest) -> pb.TrainAnomalyDetectorResponse:
        """Train a detector on clips, and store it.

        Raises:
            InvalidArgument: A field is invalid, or there are too few clips.
            TooLarge: There are too many clips, seconds or classes.
            Overloaded: The queue is full, or the clips cannot be processed before the deadline.
        """
        name, rate = check_name(request.name), _rate(request.false_alarm_rate)
        labels = self._labels(request)
        await self._detectors.check_room(current().tenant, name)
        async with self._schedulers.get().session(len(request.clips) * CLIP_SECONDS) as session:
            clips: list[SoundFeatures] = []
            for number, sent in enumerate(request.clips):
                clips.append(await self._extract(session.submit, sent.audio, f"clips[{number}].audio"))
                if sum(clip.seconds for clip in clips) > self._settings.max_anomaly_audio_seconds:
                    raise TooLarge(
                        f"the clips must not be longer than {self._settings.max_anomaly_audio_seconds:g} s together",
                        field="clips",
                    )
            seconds = sum(clip.seconds for clip in clips)
            features = [clip.features for clip in clips]
            if not labels and sum(map(len, features)) < MIN_SEGMENTS:
                raise InvalidArgument(
                    f"the clips must be at least {MIN_SEGMENTS} s long together, got {seconds:.0f} s", field="clips"
                )
            training = TrainingSet(features, labels, rate)
            trained = cast("TrainedDetector", await session.submit(training, seconds * TRAINING_COST))
        model = trained.detector
        record = DetectorRecord(
            name=name,
            version=0,
            classes=tuple(sorted(set(labels))),
            threshold=model.threshold if isinstance(model, AnomalyScorer) else 0.0,
            clips=len(clips),
            seconds=seconds,
            macro_f1=trained.macro_f1,
        )
        return pb.TrainAnomalyDetectorResponse(
            anomaly_detector=_message(await self._detectors.add(current().tenant, record, model))
        )

    async def list_all(self) -> pb.ListAnomalyDetectorsResponse:
        """List the detectors of the tenant."""
        return pb.ListAnomalyDetectorsResponse(
            anomaly_detectors=map(_message, await self._detectors.last(current().tenant))
        )

    async def delete(self, request: pb.DeleteAnomalyDetectorRequest) -> pb.DeleteAnomalyDetectorResponse:
        """Delete a detector with all its versions.

        Raises:
            NotFound: The tenant has no such detector.
        """
        await self._detectors.delete(current().tenant, request.name)
        return pb.DeleteAnomalyDetectorResponse()

    async def detect(self, request: pb.DetectAnomalyRequest) -> pb.DetectAnomalyResponse:
        """Score how anomalous a recording is.

        Raises:
            NotFound: The tenant has no such detector.
            FailedPrecondition: The detector classifies.
            InvalidArgument: The recording is too short or cannot be decoded.
        """
        record, model = await self._detectors.get(current().tenant, request.name, request.version)
        if not isinstance(model, AnomalyScorer):
            raise FailedPrecondition(f"{record.name} was trained on labelled clips: use ClassifySound", field="name")
        sound = await self._extract(self._schedulers.get().submit, request.audio, "audio")
        scores = model.scores(sound.features)
        whole = model.whole(scores)
        return pb.DetectAnomalyResponse(
            score=whole,
            threshold=model.threshold,
            anomalous=whole >= model.threshold,
            segments=[
                pb.ScoredSegment(time=span(*time), score=score)
                for time, score in zip(sound.times.tolist(), scores.tolist(), strict=True)
            ],
            version=record.version,
        )

    async def classify(self, request: pb.ClassifySoundRequest) -> pb.ClassifySoundResponse:
        """Classify a recording.

        Raises:
            NotFound: The tenant has no such detector.
            FailedPrecondition: The detector scores.
            InvalidArgument: The recording is too short or cannot be decoded.
        """
        record, model = await self._detectors.get(current().tenant, request.name, request.version)
        if not isinstance(model, SoundClassifier):
            raise FailedPrecondition(f"{record.name} was trained without labels: use DetectAnomaly", field="name")
        sound = await self._extract(self._schedulers.get().submit, request.audio, "audio")
        probabilities = model.probabilities(sound.features)
        whole = sorted(zip(probabilities.mean(axis=0).tolist(), model.labels, strict=True), key=lambda row: -row[0])
        return pb.ClassifySoundResponse(
            classes=[pb.SoundClass(label=label, probability=probability) for probability, label in whole],
            segments=[
                pb.ClassifiedSegment(time=span(*time), sound_class=_most_probable(row, model.labels))
                for time, row in zip(sound.times.tolist(), probabilities, strict=True)
            ],
            version=record.version,
        )

    def _labels(self, request: pb.TrainAnomalyDetectorRequest) -> list[str]:
        """The label of each clip; empty where no clip is labelled."""
        if len(request.clips) > self._settings.max_training_clips:
            raise TooLarge(
                f"at most {self._settings.max_training_clips} clips are accepted, got {len(request.clips)}",
                field="clips",
            )
        labels = [clip.label for clip in request.clips]
        if not any(labels):
            if len(labels) < MIN_NORMAL_CLIPS:
                raise InvalidArgument(
                    f"at least {MIN_NORMAL_CLIPS} clips are required, got {len(labels)}",
                    field="clips",
                )
            return []
        for number, label in enumerate(labels):
            if not label.strip() or len(label) > MAX_LABEL or not label.isprintable():
                raise InvalidArgument(
                    f"labels must have 1 to {MAX_LABEL} printable characters, and each clip one or none",
                    field=f"clips[{number}].label",
                )
        classes = set(labels)
        if len(classes) > self._settings.max_anomaly_classes:
            raise TooLarge(
                f"at most {self._settings.max_anomaly_classes} classes are accepted, got {len(classes)}", field="clips"
            )
        if len(classes) == 1:
            raise InvalidArgument(
                f"labels must have two classes or more, or all be empty, got only {cut(labels[0])!r}", field="clips"
            )
        for label in sorted(classes):
            if labels.count(label) < MIN_LABELLED_CLIPS:
                raise InvalidArgument(
                    f"each class must have {MIN_LABELLED_CLIPS} clips or more, got one of {cut(label)!r}", field="clips"
                )
        return labels

    async def _extract(self, submit: Submit, audio: Media, field: str) -> SoundFeatures:
        async with self._recordings.open(audio, field, self._settings.max_anomaly_audio_seconds) as recording:
            request = SoundInput(recording.samples())
            sound = cast("SoundFeatures", await submit(request, max(recording.claimed_seconds, 1.0)))
        if not len(sound.features):
            raise InvalidArgument(f"the recording must be at least 0.33 s long, got {sound.seconds:.2g} s", field=field)
        return sound


def _rate(rate: float) -> float:
    return within(round(rate, 6), *FALSE_ALARM_RATE, "false_alarm_rate") if rate else DEFAULT_RATE


def _most_probable(probabilities: NDArray[np.float32], labels: Sequence[str]) -> pb.SoundClass:
    best = int(probabilities.argmax())
    return pb.SoundClass(label=labels[best], probability=float(probabilities[best]))


def _message(record: DetectorRecord) -> pb.AnomalyDetector:
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
