"""Whisper through CTranslate2: windows cut at silences, decoded one after another.

Speech is found by Silero VAD, which keeps Whisper from writing words into silence,
and packed into windows of at most 30 s, which is what Whisper's encoder always takes.
Only one window's features are in memory at a time. No window is conditioned on the text
of the one before it, so that a repetition ends with its window.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.transcribe import restore_speech_timestamps
from faster_whisper.vad import VadOptions, get_speech_timestamps
from numpy.typing import NDArray

from servekit.call import Flag
from servekit.catalogue import ModelCard
from servekit.errors import InvalidArgument
from services.speech.models import LISTENING_RATE, Finished, Heard, Instructions, Segment, Started, Word
from services.speech.settings import SpeechSettings

WINDOW_SECONDS = 30.0
RETRY_TEMPERATURES = (0.4, 0.8)  # a window that repeats itself or is improbable is decoded again, twice at most

Span = dict[str, int]  # "start" and "end" in samples, as the VAD gives them


class Whisper:
    """One set of weights for all slots; each call decodes on the thread that makes it.

    Args:
        model: The loaded network.
        beam_size: Hypotheses that are kept while decoding.
    """

    def __init__(self, model: WhisperModel, beam_size: int) -> None:
        self._model = model
        self._beam_size = beam_size

    def check(self, instructions: Instructions) -> None:
        if instructions.language and instructions.language not in self._model.supported_languages:
            raise InvalidArgument(
                f"the model does not know the language {instructions.language!r}; it takes codes such as 'en' or 'zh'",
                field="language",
            )

    def transcribe(self, samples: NDArray[np.float32], instructions: Instructions, flag: Flag) -> Iterator[Heard]:
        spans: list[Span] = get_speech_timestamps(samples, VadOptions(max_speech_duration_s=WINDOW_SECONDS))
        language = instructions.language
        if not spans:
            yield Started(language, 1.0 if language else 0.0)
        duration = len(samples) / LISTENING_RATE
        for number, window in enumerate(pack(spans, int(WINDOW_SECONDS * LISTENING_RATE))):
            clip = np.concatenate([samples[span["start"] : span["end"]] for span in window])
            segments, info = self._listen(clip, language, instructions, flag)
            if number == 0:
                language = info.language
                yield Started(language, float(info.language_probability))
            for segment in restore_speech_timestamps(segments, window, LISTENING_RATE):
                yield _segment(segment, duration)
        yield Finished(duration, sum(span["end"] - span["start"] for span in spans) / LISTENING_RATE)

    def _listen(
        self, clip: NDArray[np.float32], language: str, instructions: Instructions, flag: Flag
    ) -> tuple[Any, Any]:
        listener = copy.copy(self._model)
        listener.model = _Attentive(self._model.model, flag, detects=not language)
        return listener.transcribe(  # type: ignore[no-any-return]
            clip,
            language=language or None,
            initial_prompt=instructions.prompt or None,
            word_timestamps=instructions.word_times,
            temperature=[instructions.temperature] if instructions.temperature else [0.0, *RETRY_TEMPERATURES],
            beam_size=self._beam_size,
            condition_on_previous_text=False,
        )

    def warm(self) -> None:
        silence = np.zeros(LISTENING_RATE, np.float32)
        get_speech_timestamps(silence)
        self._model.detect_language(silence)

    def close(self) -> None:
        self._model.model.unload_model()


class _Attentive:
    """The engine as one call sees it: every step first looks at the flag.

    The library encodes the first window to detect the language, and then again to
    decode it; here the second time gets the first one's result.
    """

    def __init__(self, engine: Any, flag: Flag, *, detects: bool) -> None:
        self._engine = engine
        self._flag = flag
        self._detects = detects
        self._encoded: Any = None

    def __getattr__(self, name: str) -> Any:
        self._flag.check()
        return getattr(self._engine, name)

    def encode(self, features: Any, to_cpu: bool = False) -> Any:
        self._flag.check()
        if self._encoded is not None:
            encoded, self._encoded = self._encoded, None
            return encoded
        encoded = self._engine.encode(features, to_cpu=to_cpu)
        if self._detects:
            self._detects, self._encoded = False, encoded
        return encoded


def pack(spans: Sequence[Span], longest: int) -> Iterator[list[Span]]:
    """Gather spans of speech, in order, into windows of at most `longest` samples; a longer span stands alone."""
    window: list[Span] = []
    filled = 0
    for span in spans:
        length = span["end"] - span["start"]
        if window and filled + length > longest:
            yield window
            window, filled = [], 0
        window.append(span)
        filled += length
    if window:
        yield window


def _segment(segment: Any, duration: float) -> Segment:
    """What the library says, its times kept within the recording."""
    start, end = _within(segment, duration)
    return Segment(
        start=start,
        end=end,
        text=segment.text.strip(),
        mean_log_probability=float(segment.avg_logprob),
        no_speech_probability=float(segment.no_speech_prob),
        words=tuple(
            Word(*_within(word, duration), word.word.strip(), float(word.probability)) for word in segment.words or ()
        ),
    )


def _within(timed: Any, duration: float) -> tuple[float, float]:
    start = min(float(timed.start), duration)
    return start, max(start, min(float(timed.end), duration))


def load(card: ModelCard, settings: SpeechSettings) -> Whisper:
    """Load a CTranslate2 Whisper from the model's folder.

    Options of the card: `device` (auto), `compute_type` (int8), `beam_size` (5).
    """
    model = WhisperModel(
        str(card.folder(settings.models_dir)),
        device=card.options.get("device", "auto"),
        compute_type=card.options.get("compute_type", "int8"),
        cpu_threads=min(settings.transcribe_threads, settings.threads),
        num_workers=settings.transcribe_slots,
        local_files_only=True,
    )
    return Whisper(model, card.options.get("beam_size", 5))
