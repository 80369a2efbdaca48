"""Log-mel features, with a Gaussian of normal sounds or a linear discriminant of classes: numpy, no weights."""

from collections.abc import Sequence

from threadpoolctl import threadpool_limits

from servekit.context import CancellationToken
from servekit.errors import Cancelled, ServeError
from servekit.models.catalogue import ModelSpec
from services.speech.anomaly import SoundInput, SoundRequest, SoundResult, TrainedDetector, TrainingSet
from services.speech.anomaly.features import extract_features
from services.speech.anomaly.training import train_classifier, train_scorer
from services.speech.settings import SpeechSettings


class LogMelAnalyzer:
    """Runs one request at a time on each engine's thread."""

    def prepare(self, request: SoundRequest) -> SoundRequest:
        return request

    def run(self, items: Sequence[SoundRequest], cancellation: CancellationToken) -> list[SoundResult | ServeError]:
        return [self._run(item, cancellation) for item in items]

    def warm(self) -> None:
        """There is nothing to warm."""

    def close(self) -> None:
        """There is nothing to release."""

    def _run(self, item: SoundRequest, cancellation: CancellationToken) -> SoundResult | ServeError:
        try:
            if isinstance(item, SoundInput):
                return extract_features(item.chunks, cancellation)
            return self._train(item, cancellation)
        except ServeError as error:
            return error
        except Exception:
            if cancellation.cancelled:  # the caller has closed the recording
                return Cancelled("the request was cancelled")
            raise

    def _train(self, item: TrainingSet, cancellation: CancellationToken) -> TrainedDetector:
        with threadpool_limits(limits=1):  # the matrices are small, and the other engines need the cores
            if item.labels:
                return TrainedDetector(*train_classifier(item.features, item.labels, cancellation))
            return TrainedDetector(train_scorer(item.features, item.false_alarm_rate, cancellation), None)


def load(spec: ModelSpec, settings: SpeechSettings) -> LogMelAnalyzer:  # noqa: ARG001
    """Load the analyzer."""
    return LogMelAnalyzer()
