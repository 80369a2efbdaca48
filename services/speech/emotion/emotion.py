"""AnalyzeEmotion: the emotion of a voice and the sentiment of its words, segment by segment.

The recording is read twice: once for its words, once for how they sound. Neither time is it whole in memory.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from polyphony.speech.v1 import emotion_pb2 as pb

from servekit.media.scripts import is_unspaced
from servekit.models.repository import Models
from servekit.scheduling.batch import BatchScheduler
from services.speech.audio import SAMPLE_RATE
from services.speech.audio.recording import Recording, Recordings, through
from services.speech.emotion.affect import arousal, emotions, sentiments, together
from services.speech.emotion.prosody import ProsodyFeatures, ProsodyTrack
from services.speech.spans import span
from services.speech.transcription import WINDOW_SECONDS, Segment, TranscriptionOptions
from services.speech.transcription.transcription import LongFormTranscriber, collect
from services.speech.words import split

SentimentScheduler = BatchScheduler[str, float]
EmotionScheduler = BatchScheduler[NDArray[np.float32], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """One segment, and what was found of it; `heard` is what an acoustic model says, where there is one."""

    segment: Segment
    score: float
    sound: ProsodyFeatures
    pace: float
    heard: Mapping[str, float] | None

    @property
    def seconds(self) -> float:
        return self.segment.end - self.segment.start


class EmotionAnalysis:
    """Tells emotions.

    Args:
        recordings: Where recordings are opened.
        transcription: What hears their words.
        readers: Lexicons or models of sentiment.
        recognizers: Acoustic models; without one a rule tells emotions from words and prosody.
    """

    def __init__(
        self,
        recordings: Recordings,
        transcription: LongFormTranscriber,
        readers: Models[SentimentScheduler],
        recognizers: Models[EmotionScheduler],
    ) -> None:
        self._recordings, self._transcription = recordings, transcription
        self._readers, self._recognizers = readers, recognizers

    async def analyze(self, request: pb.AnalyzeEmotionRequest) -> pb.AnalyzeEmotionResponse:
        """The emotion of a recording; without segments where nobody speaks.

        Raises:
            NotFound: There is no such acoustic model.
            ServeError: As `Recordings.open` and `LongFormTranscriber.transcribe` say.
        """
        recognizer = self._recognizers.get(request.model) if request.model or any(self._recognizers) else None
        async with self._recordings.open(request.audio, "audio") as recording:
            events = self._transcription.transcribe(recording, TranscriptionOptions(language=request.language))
            started, segments, _ = await collect(events)
            reader = self._reader(started.language)
            track = ProsodyTrack(SAMPLE_RATE)
            stretches = [
                _Stretch(
                    segment,
                    await reader.submit(segment.text, len(segment.text)) if reader else 0.0,
                    track.between(segment.start, segment.end),
                    _pace(segment),
                    await recognizer.submit(samples, len(samples) / SAMPLE_RATE) if recognizer else None,
                )
                async for segment, samples in _voices(recording, segments, track)
            ]
        return _response(stretches, started.language, reader, recognizer)

    def _reader(self, language: str) -> SentimentScheduler | None:
        """What reads a language, if anything does."""
        return next(
            (scheduler for scheduler in self._readers if language in (scheduler.model.languages or (language,))), None
        )


async def _voices(
    recording: Recording, segments: Sequence[Segment], track: ProsodyTrack
) -> AsyncGenerator[tuple[Segment, NDArray[np.float32]], None]:
    """Each segment with its samples, at most `WINDOW_SECONDS` of them, once `track` has heard it to its end."""
    waiting = list(reversed(segments))
    kept, begin = np.empty(0, np.float32), 0  # what may still be wanted, and which sample it begins with
    async with aclosing(recording.chunks()) as chunks:
        async for samples in chunks:
            await through(track.feed, samples)
            kept = np.concatenate([kept, samples])
            while waiting and _end(waiting[-1]) <= begin + len(kept):
                yield waiting[-1], kept[max(0, _start(waiting[-1]) - begin) : _end(waiting.pop()) - begin]
            wanted = _start(waiting[-1]) if waiting else begin + len(kept)
            most = int(WINDOW_SECONDS * SAMPLE_RATE)
            passed = min(len(kept), max(0, wanted - begin, len(kept) - most))
            kept, begin = kept[passed:], begin + passed
    while waiting:  # a segment's end may lie a little beyond the recording's
        yield waiting[-1], kept[max(0, _start(waiting.pop()) - begin) :]


def _start(segment: Segment) -> int:
    return int(segment.start * SAMPLE_RATE)


def _end(segment: Segment) -> int:
    return int(segment.end * SAMPLE_RATE)


def _pace(segment: Segment) -> float:
    return len(split(segment.text)) / max(segment.end - segment.start, 0.1)


def _response(
    stretches: Sequence[_Stretch], language: str, reader: SentimentScheduler | None, recognizer: EmotionScheduler | None
) -> pb.AnalyzeEmotionResponse:
    own_level = median(stretch.sound.level for stretch in stretches) if stretches else 0.0
    basis = reader.spec.id if reader else ""
    told = [stretch.heard or _by_rule(stretch, own_level) for stretch in stretches]
    characters = sum(len(stretch.segment.text) for stretch in stretches)
    score = sum(stretch.score * len(stretch.segment.text) for stretch in stretches) / (characters or 1)
    return pb.AnalyzeEmotionResponse(
        segments=[_segment(stretch, found, basis) for stretch, found in zip(stretches, told, strict=True)],
        emotions=_labels(together(zip(told, (stretch.seconds for stretch in stretches), strict=True))),
        sentiment=_sentiment(score, basis),
        language=language,
        basis=pb.EMOTION_BASIS_ACOUSTIC_MODEL if recognizer else pb.EMOTION_BASIS_WORDS_AND_PROSODY,
        model=recognizer.spec.id if recognizer else "",
    )


def _by_rule(stretch: _Stretch, own_level: float) -> Mapping[str, float]:
    unspaced = is_unspaced(stretch.segment.text)
    return emotions(stretch.score, arousal(stretch.sound, own_level, stretch.pace, unspaced=unspaced))


def _segment(stretch: _Stretch, found: Mapping[str, float], basis: str) -> pb.EmotionSegment:
    segment, sound = stretch.segment, stretch.sound
    return pb.EmotionSegment(
        time=span(segment.start, segment.end),
        text=segment.text,
        emotions=_labels(found),
        sentiment=_sentiment(stretch.score, basis),
        prosody=pb.Prosody(
            pitch_hertz=sound.pitch,
            pitch_range_semitones=sound.pitch_range,
            level_db=sound.level,
            words_per_second=stretch.pace,
        ),
    )


def _sentiment(score: float, basis: str) -> pb.Sentiment:
    return pb.Sentiment(labels=_labels(sentiments(score)) if basis else (), score=score, basis=basis)


def _labels(probabilities: Mapping[str, float]) -> Iterable[pb.LabelProbability]:
    likeliest = sorted(probabilities.items(), key=lambda entry: -entry[1])
    return [pb.LabelProbability(label=label, probability=probability) for label, probability in likeliest]
