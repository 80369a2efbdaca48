"""AnalyzeEmotion: the emotion of a voice and the sentiment of its words, segment by segment.

The recording is read twice, once to transcribe it and once to measure its prosody; it is never in memory as a whole.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from polyphony.speech.v1 import emotion_pb2 as pb

from servekit.media.scripts import is_unspaced
from servekit.scheduling.batch import BatchScheduler
from servekit.tasks.repository import Models
from services.speech.audio import SAMPLE_RATE
from services.speech.audio.recording import Recording, Recordings, through
from services.speech.emotion.affect import arousal, emotions, sentiments, weighted_mean
from services.speech.emotion.prosody import ProsodyFeatures, ProsodyTrack
from services.speech.spans import span
from services.speech.transcription import WINDOW_SECONDS, Segment, TranscriptionOptions
from services.speech.transcription.transcription import LongFormTranscriber, collect
from services.speech.words import split

SentimentScheduler = BatchScheduler[str, float]
EmotionScheduler = BatchScheduler[NDArray[np.float32], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class _AnalyzedSegment:
    """A segment with its measurements.

    Attributes:
        segment: The segment of the transcript.
        sentiment: The sentiment score of its text, from -1 to 1.
        prosody: The prosody of its audio.
        pace: Words per second.
        emotions: The result of the acoustic model; None if there is none.
    """

    segment: Segment
    sentiment: float
    prosody: ProsodyFeatures
    pace: float
    emotions: Mapping[str, float] | None

    @property
    def seconds(self) -> float:
        return self.segment.end - self.segment.start


class EmotionAnalysis:
    """Analyzes the emotions in recordings.

    Args:
        recordings: Opens recordings.
        transcription: Transcribes recordings.
        sentiment_classifiers: The schedulers of the sentiment classifiers.
        recognizers: The schedulers of the acoustic models; without one, a rule on words and prosody is used.
    """

    def __init__(
        self,
        recordings: Recordings,
        transcription: LongFormTranscriber,
        sentiment_classifiers: Models[SentimentScheduler],
        recognizers: Models[EmotionScheduler],
    ) -> None:
        self._recordings, self._transcription = recordings, transcription
        self._sentiment_classifiers, self._recognizers = sentiment_classifiers, recognizers

    async def analyze(self, request: pb.AnalyzeEmotionRequest) -> pb.AnalyzeEmotionResponse:
        """Analyze a recording; without speech, the response has no segments.

        Raises:
            NotFound: No such acoustic model is loaded.
            ServeError: See `Recordings.open` and `LongFormTranscriber.transcribe`.
        """
        recognizer = self._recognizers.get(request.model) if request.model or any(self._recognizers) else None
        async with self._recordings.open(request.audio, "audio") as recording:
            events = self._transcription.transcribe(recording, TranscriptionOptions(language=request.language))
            started, segments, _ = await collect(events)
            classifier = self._sentiment_classifier(started.language)
            track = ProsodyTrack(SAMPLE_RATE)
            analyzed = [
                _AnalyzedSegment(
                    segment,
                    await classifier.submit(segment.text, len(segment.text)) if classifier else 0.0,
                    track.between(segment.start, segment.end),
                    _pace(segment),
                    await recognizer.submit(samples, len(samples) / SAMPLE_RATE) if recognizer else None,
                )
                async for segment, samples in _segment_samples(recording, segments, track)
            ]
        return _response(analyzed, started.language, classifier, recognizer)

    def _sentiment_classifier(self, language: str) -> SentimentScheduler | None:
        """The first sentiment classifier that supports a language; None if there is none."""
        return next(
            (
                scheduler
                for scheduler in self._sentiment_classifiers
                if language in (scheduler.model.languages or (language,))
            ),
            None,
        )


async def _segment_samples(
    recording: Recording, segments: Sequence[Segment], track: ProsodyTrack
) -> AsyncGenerator[tuple[Segment, NDArray[np.float32]], None]:
    """Each segment with at most `WINDOW_SECONDS` of its samples, after `track` was fed the whole segment."""
    pending = list(reversed(segments))
    kept, begin = np.empty(0, np.float32), 0  # samples that are still needed, and the position of the first
    async with aclosing(recording.chunks()) as chunks:
        async for samples in chunks:
            await through(track.feed, samples)
            kept = np.concatenate([kept, samples])
            while pending and _end(pending[-1]) <= begin + len(kept):
                yield pending[-1], kept[max(0, _start(pending[-1]) - begin) : _end(pending.pop()) - begin]
            needed = _start(pending[-1]) if pending else begin + len(kept)
            most = int(WINDOW_SECONDS * SAMPLE_RATE)
            passed = min(len(kept), max(0, needed - begin, len(kept) - most))
            kept, begin = kept[passed:], begin + passed
    while pending:  # the end of a segment may be slightly after the end of the recording
        yield pending[-1], kept[max(0, _start(pending.pop()) - begin) :]


def _start(segment: Segment) -> int:
    return int(segment.start * SAMPLE_RATE)


def _end(segment: Segment) -> int:
    return int(segment.end * SAMPLE_RATE)


def _pace(segment: Segment) -> float:
    return len(split(segment.text)) / max(segment.end - segment.start, 0.1)


def _response(
    analyzed: Sequence[_AnalyzedSegment],
    language: str,
    classifier: SentimentScheduler | None,
    recognizer: EmotionScheduler | None,
) -> pb.AnalyzeEmotionResponse:
    usual_level = median(item.prosody.level for item in analyzed) if analyzed else 0.0
    basis = classifier.spec.id if classifier else ""
    results = [item.emotions or _by_rule(item, usual_level) for item in analyzed]
    characters = sum(len(item.segment.text) for item in analyzed)
    score = sum(item.sentiment * len(item.segment.text) for item in analyzed) / (characters or 1)
    return pb.AnalyzeEmotionResponse(
        segments=[_segment(item, found, basis) for item, found in zip(analyzed, results, strict=True)],
        emotions=_labels(weighted_mean(zip(results, (item.seconds for item in analyzed), strict=True))),
        sentiment=_sentiment(score, basis),
        language=language,
        basis=pb.EMOTION_BASIS_ACOUSTIC_MODEL if recognizer else pb.EMOTION_BASIS_WORDS_AND_PROSODY,
        model=recognizer.spec.id if recognizer else "",
    )


def _by_rule(item: _AnalyzedSegment, usual_level: float) -> Mapping[str, float]:
    unspaced = is_unspaced(item.segment.text)
    return emotions(item.sentiment, arousal(item.prosody, usual_level, item.pace, unspaced=unspaced))


def _segment(item: _AnalyzedSegment, found: Mapping[str, float], basis: str) -> pb.EmotionSegment:
    segment, prosody = item.segment, item.prosody
    return pb.EmotionSegment(
        time=span(segment.start, segment.end),
        text=segment.text,
        emotions=_labels(found),
        sentiment=_sentiment(item.sentiment, basis),
        prosody=pb.Prosody(
            pitch_hertz=prosody.pitch,
            pitch_range_semitones=prosody.pitch_range,
            level_db=prosody.level,
            words_per_second=item.pace,
        ),
    )


def _sentiment(score: float, basis: str) -> pb.Sentiment:
    return pb.Sentiment(labels=_labels(sentiments(score)) if basis else (), score=score, basis=basis)


def _labels(probabilities: Mapping[str, float]) -> Iterable[pb.LabelProbability]:
    ordered = sorted(probabilities.items(), key=lambda entry: -entry[1])
    return [pb.LabelProbability(label=label, probability=probability) for label, probability in ordered]
