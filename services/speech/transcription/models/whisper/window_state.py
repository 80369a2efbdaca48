"""The state of one window while Whisper decodes it."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_ctranslate2_storage, get_end
from numpy.typing import NDArray

from services.speech.transcription import WINDOW_SECONDS, RecognizedWord, Segment, Window, WindowResult
from services.speech.transcription.models.whisper.decoding import (
    MAX_NO_SPEECH_PROBABILITY,
    MAX_TOKENS,
    MAX_WRITTEN_TOKENS,
    TEMPERATURES,
    Draft,
)
from services.speech.transcription.models.whisper.timing import joined, sharpened

FRAMES_PER_SECOND = 100
WINDOW_FRAMES = 3000  # the most that the encoder takes
MARGIN_SECONDS = 2.0  # of padding after the speech of a shortened window
MIN_SECONDS = 6.0  # of a shortened window; in shorter ones words are repeated
MIN_LANGUAGE_PROBABILITY = 0.5
TOKENS_PER_SECOND, MIN_TOKENS = 20, 40  # of fast speech in a script with many tokens; longer texts are rejected
SURE_LOG_PROBABILITY = -0.5  # from which a text is kept although it may be silence
REPEATED_TOKENS = 4  # tokens that occur twice in a row are a repetition
QUIET_SECONDS = 1.0  # a shorter rest after a complete text is not decoded
PREPENDED = "\"'“¿([{-"  # punctuation that belongs to the word after it
APPENDED = "\"'.。,，!！?？:：”)]}、"  # and to the one before it


class WindowState:
    """The state of one window: how far it is decoded, and its segments so far.

    Args:
        window: The window.
        mel: (mels, frames) log-mel energies at `FRAMES_PER_SECOND`, including the padding after the window.
        text_tokens: The tokens of its text, where that is given.

    Attributes:
        full: Whether the encoder sees `WINDOW_FRAMES`, as in the reference implementation, whatever the duration.
        language: The language, requested or detected; empty until it is detected.
        probability: The confidence of the language detection.
    """

    def __init__(self, window: Window, mel: NDArray[np.float32], text_tokens: Sequence[int] = ()) -> None:
        self.window = window
        self.full = window.options.full_window
        self.language = window.options.language
        self.probability = 1.0 if self.language else 0.0
        self.text_tokens = list(text_tokens)
        self._mel = mel
        self._end: int = min(mel.shape[1], ceil(window.seconds * FRAMES_PER_SECOND))
        self._position = 0  # frames
        self._last_end = 0.0  # seconds, the end of the last word
        self._segments: list[Segment] = []
        self._rejected: list[Draft] = []  # of the frames that are being decoded

    @property
    def has_remaining(self) -> bool:
        """Whether any frames are left to decode."""
        return self._position < self._end

    @property
    def is_resumed(self) -> bool:
        """Whether some frames are decoded already."""
        return self._position > 0

    @property
    def with_timestamps(self) -> bool:
        """Whether the text has timestamp tokens: not in interim windows, nor after a prefix.

        An interim window often ends within a word. When asked for the time of that end, the network repeated the text
        until it ran out of tokens in one of four windows. After a prefix it predicts an end past that of the audio.
        """
        return self.is_resumed or not (self.window.interim or self.window.prefix)

    @property
    def features(self) -> NDArray[np.float32]:
        """(mels, frames) to decode next, with the padding after them."""
        return self._mel[:, self._position : self._position + WINDOW_FRAMES]

    @property
    def size(self) -> int:
        """The number of frames to decode next, without padding."""
        return min(self._end - self._position, WINDOW_FRAMES)

    @property
    def frames(self) -> int:
        """The number of frames that the encoder sees."""
        seconds = WINDOW_SECONDS if self.full else fitted_seconds(self.size / FRAMES_PER_SECOND)
        return 2 * ceil(seconds * FRAMES_PER_SECOND / 2)

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens that the frames can contain; it cuts off repetitions."""
        seconds = self.size / FRAMES_PER_SECOND
        limit = round(MIN_TOKENS + seconds * TOKENS_PER_SECOND)
        return MAX_TOKENS if self.window.options.full_window else limit

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures to try until a text is acceptable. Only full windows fall back to sampling."""
        options = self.window.options
        return TEMPERATURES if options.full_window and not options.temperature else (options.temperature,)

    def set_language(self, language: str, probability: float, shown: int) -> None:
        """Set the detected language; an uncertain one makes a shortened window full instead."""
        unsure = not self.full and not self.window.interim and probability < MIN_LANGUAGE_PROBABILITY
        self.full |= unsure
        if not unsure or shown == WINDOW_FRAMES:
            self.language, self.probability = language, probability

    def needs_fallback(self, draft: Draft, tokenizer: Tokenizer) -> bool:
        """Whether the text of a shortened window fails the checks and should be decoded again in the full window.

        The network was trained on windows of 30 s; at the sudden end of a shorter one it may repeat itself.
        """
        return not self.full and not self.window.interim and self._is_suspect(draft, tokenizer)

    def retry_full_window(self, rejected: Draft, shown: int) -> bool:
        """Request the full window. Returns False where a retry would give the same text."""
        self.full = True
        if shown == WINDOW_FRAMES and not rejected.temperature:
            return False
        self._rejected.append(rejected)
        return True

    def resolve(self, draft: Draft, tokenizer: Tokenizer) -> Draft:
        """Choose the final text: the draft, or the more probable of the draft and the rejected one.

        A repetitive text is chosen only if the other is repetitive too, and truncated at its repetition. It is dropped
        where it is improbable, or where there is probably no speech, as repetitions always have high probability.
        """
        drafts = [draft, *self._rejected]
        if self.window.options.full_window or not self.full:
            return draft
        if draft.is_acceptable and len(draft.tokens) < self.max_tokens:
            return draft
        ended = [one for one in drafts if not self._is_repetitive(one, tokenizer)]
        best = max(ended or drafts, key=lambda one: one.mean_log_probability)
        if ended:
            return best
        truncated = _truncate_repetition(best.tokens, tokenizer)
        most = min(self.max_tokens, MAX_WRITTEN_TOKENS)
        is_loop = len(truncated) < len(best.tokens) or len(best.tokens) >= most
        is_hallucination = is_loop and best.no_speech_probability > MAX_NO_SPEECH_PROBABILITY
        return replace(best, tokens=[] if is_hallucination or best.is_improbable else truncated)

    def _is_repetitive(self, draft: Draft, tokenizer: Tokenizer) -> bool:
        """Whether a text repeats itself, or is longer than speech can be."""
        truncated = _truncate_repetition(draft.tokens, tokenizer)
        return draft.is_repetitive or len(draft.tokens) >= self.max_tokens or len(truncated) < len(draft.tokens)

    def _is_suspect(self, draft: Draft, tokenizer: Tokenizer) -> bool:
        return (
            not draft.is_acceptable
            or self._is_repetitive(draft, tokenizer)
            or draft.no_speech_probability > MAX_NO_SPEECH_PROBABILITY
            or any(token > tokenizer.timestamp_begin + self.frames // 2 for token in draft.tokens)
        )

    def accept(self, draft: Draft, encoded: NDArray[Any], tokenizer: Tokenizer, model: WhisperModel) -> None:
        """Accept the text of the frames, and continue after its last complete phrase, or after the frames.

        Args:
            draft: The text, including the prefix.
            encoded: (1, positions, width), the encoder output.
            tokenizer: The tokenizer of the language.
            model: The reference implementation, which splits texts into phrases and aligns their words. If it runs
                out of memory, the state is unchanged.
        """
        start_frame, size, with_timestamps = self._position, self.size, self.with_timestamps
        interim = self.window.interim
        nothing = not draft.tokens or draft.is_silence or (interim and self._is_suspect(draft, tokenizer))
        if nothing or (not self.window.options.full_window and _is_probably_silence(draft)):
            self._advance(start_frame + size, [])
            return
        phrases, position, ends_in_silence = model._split_segments_by_timestamps(
            tokenizer=tokenizer,
            tokens=draft.tokens,
            time_offset=start_frame / FRAMES_PER_SECOND,
            segment_size=size,
            segment_duration=size / FRAMES_PER_SECOND,
            seek=start_frame,
        )
        last_end: float | None = None
        if self.window.options.word_times:
            self._find_words(phrases, encoded, size, tokenizer, model)
            last_end = get_end(phrases)
            if (
                with_timestamps
                and last_end is not None
                and last_end * FRAMES_PER_SECOND > start_frame
                and not ends_in_silence
            ):
                position = round(last_end * FRAMES_PER_SECOND)
        is_complete = all(token >= tokenizer.timestamp_begin for token in draft.tokens[-2:])
        rest = start_frame + size - position
        continues = self.full or not is_complete or rest > QUIET_SECONDS * FRAMES_PER_SECOND
        segments = [
            self._segment(phrase, tokenizer.decode(phrase["tokens"]), draft)
            for phrase in phrases
            if phrase["start"] != phrase["end"]
        ]
        self._advance(
            position if continues and position > start_frame and not interim else start_frame + size, segments
        )
        self._last_end = last_end or self._last_end

    def align(self, encoded: NDArray[Any], tokenizer: Tokenizer, model: WhisperModel) -> None:
        """Find the times of the words of the given text, which finishes the window."""
        frames = self._end
        phrase: dict[str, Any] = {
            "seek": 0,
            "start": 0.0,
            "end": frames / FRAMES_PER_SECOND,
            "tokens": self.text_tokens,
        }
        self._find_words([phrase], encoded, frames, tokenizer, model)
        likely = np.array([word["probability"] for word in phrase["words"]], np.float64)
        mean = float(np.log(np.maximum(likely, 1e-10)).mean()) if likely.size else 0.0
        draft = Draft(self.text_tokens, mean, 0.0, 0.0, 0.0)
        self._advance(frames, [self._segment(phrase, self.window.text, draft)])

    def result(self) -> WindowResult:
        """The transcript of the window."""
        segments = tuple(segment for segment in self._segments if any(map(str.isalnum, segment.text)))
        if segments or self.window.options.language:
            return WindowResult(self.language, self.probability, segments)
        return WindowResult("", 0.0, ())

    def _advance(self, position: int, segments: list[Segment]) -> None:
        """Add the segments up to a frame, where decoding continues."""
        self._position, self._rejected = position, []
        self._segments += segments

    def _find_words(
        self,
        phrases: list[dict[str, Any]],
        encoded: NDArray[Any],
        frames: int,
        tokenizer: Tokenizer,
        model: WhisperModel,
    ) -> None:
        """Add word times to each phrase, from the cross-attention of the alignment heads."""
        storage = get_ctranslate2_storage(encoded)
        model.add_word_timestamps([phrases], tokenizer, storage, frames, PREPENDED, APPENDED, self._last_end)

    def _segment(self, phrase: dict[str, Any], text: str, draft: Draft) -> Segment:
        start, end = self._within(phrase)
        return Segment(
            start=start,
            end=end,
            text=text.strip(),
            mean_log_probability=float(draft.mean_log_probability),
            no_speech_probability=float(draft.no_speech_probability),
            temperature=draft.temperature,
            compression_ratio=draft.compression_ratio,
            words=self._words(phrase.get("words", ())),
        )

    def _words(self, found: Sequence[dict[str, Any]]) -> tuple[RecognizedWord, ...]:
        words = joined(
            [RecognizedWord(*self._within(word), word["word"], float(word["probability"])) for word in found]
        )
        return tuple(words if self.window.options.full_window else sharpened(words, self.window.samples))

    def _within(self, with_timestamps: dict[str, Any]) -> tuple[float, float]:
        """The start and end of a phrase or word, clamped to the window."""
        start = min(float(with_timestamps["start"]), self.window.seconds)
        return start, max(start, min(float(with_timestamps["end"]), self.window.seconds))


def fitted_seconds(seconds: float) -> float:
    """The seconds that the encoder sees for speech of a duration."""
    return min(max(seconds + MARGIN_SECONDS, MIN_SECONDS), WINDOW_SECONDS)


def _is_probably_silence(draft: Draft) -> bool:
    """Whether a text probably stands for silence, such as the `You` of the reference implementation."""
    likely = draft.mean_log_probability > SURE_LOG_PROBABILITY
    return draft.no_speech_probability > MAX_NO_SPEECH_PROBABILITY and not likely


def _truncate_repetition(tokens: list[int], tokenizer: Tokenizer) -> list[int]:
    """The tokens up to the first immediate repetition of some words; all of them if there is none."""
    places = [place for place, token in enumerate(tokens) if token < tokenizer.eot]
    words = [tokens[place] for place in places]
    for period in range(REPEATED_TOKENS, len(words) // 2 + 1):
        same = 0
        for at, (one, other) in enumerate(zip(words, words[period:], strict=False)):
            same = same + 1 if one == other else 0
            if same == period:
                return tokens[: places[at + 1]]
    return tokens
