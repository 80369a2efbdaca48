"""One window on its way through Whisper: how far it has been heard, and what has been written of it so far."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_ctranslate2_storage, get_end
from numpy.typing import NDArray

from services.speech.transcription import WINDOW_SECONDS, Passage, Segment, Window, Word
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
MARGIN_SECONDS = 2.0  # after the speech in a fitted window: the network wants to hear that it is over
LEAST_SECONDS = 6.0  # of a fitted window; in a shorter one a word or two are said again and again
MIN_LANGUAGE_PROBABILITY = 0.5
TOKENS_PER_SECOND, FEWEST_TOKENS = 20, 40  # of quick speech in a script of many tokens; more are doubted
SURE_LOG_PROBABILITY = -0.5  # of a text that counts although it may stand for no speech
REPEATED_TOKENS = 4  # so many twice in a row are doubted
QUIET_SECONDS = 1.0  # a shorter rest, behind a text that was ended, is not heard on its own in search of more
PREPENDED = "\"'“¿([{-"  # punctuation that belongs to the word after it
APPENDED = "\"'.。,，!！?？:：”)]}、"  # and to the one before it


class Hearing:
    """What is known of one window.

    Args:
        window: It.
        mel: (mels, frames) log-mel energies, `FRAMES_PER_SECOND` of them, also of the room that is heard behind it.
        text_tokens: Those of its text, where that is known.

    Attributes:
        full: Whether the network is to see `WINDOW_FRAMES`, as the reference does, however little there is.
        language: As it was stated or has been detected; empty before.
        probability: Of that language.
    """

    def __init__(self, window: Window, mel: NDArray[np.float32], text_tokens: Sequence[int] = ()) -> None:
        self.window = window
        self.full = window.instructions.full_window
        self.language = window.instructions.language
        self.probability = 1.0 if self.language else 0.0
        self.text_tokens = list(text_tokens)
        self._mel = mel
        self._end: int = min(mel.shape[1], ceil(window.seconds * FRAMES_PER_SECOND))
        self._heard = 0  # frames
        self._last_end = 0.0  # seconds, of the last word
        self._segments: list[Segment] = []
        self._doubted: list[Draft] = []  # of the piece that is being heard

    @property
    def is_open(self) -> bool:
        """Whether there is anything left to be heard."""
        return self._heard < self._end

    @property
    def is_begun(self) -> bool:
        """Whether a part has been heard already."""
        return self._heard > 0

    @property
    def timed(self) -> bool:
        """Whether timestamps are written with the text: not in a guess, nor behind a prefix.

        A guess ends within a word, and a network that looks for the time of that end would rather go on: one in four
        said everything again until it had no tokens left. Behind a prefix it finds an end that is past the sound's.
        """
        return self.is_begun or not (self.window.guess or self.window.prefix)

    @property
    def piece(self) -> NDArray[np.float32]:
        """(mels, frames) that are to be heard next, and the room behind them."""
        return self._mel[:, self._heard : self._heard + WINDOW_FRAMES]

    @property
    def size(self) -> int:
        """How many frames of the piece are the window's."""
        return min(self._end - self._heard, WINDOW_FRAMES)

    @property
    def frames(self) -> int:
        """How many frames the encoder is to see for it."""
        seconds = WINDOW_SECONDS if self.full else fitted(self.size / FRAMES_PER_SECOND)
        return 2 * ceil(seconds * FRAMES_PER_SECOND / 2)

    @property
    def most_tokens(self) -> int:
        """How many tokens can be said in the piece; a text that repeats itself ends here."""
        seconds = self.size / FRAMES_PER_SECOND
        most = round(FEWEST_TOKENS + seconds * TOKENS_PER_SECOND)
        return MAX_TOKENS if self.window.instructions.full_window else most

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Those to decode at, until a text will do. Only the reference draws by chance where nobody asked for that."""
        wanted = self.window.instructions
        return TEMPERATURES if wanted.full_window and not wanted.temperature else (wanted.temperature,)

    def detected(self, language: str, probability: float, shown: int) -> None:
        """Take the language that the network hears in so many frames; a guess at a fitted window is not taken."""
        unsure = not self.full and not self.window.guess and probability < MIN_LANGUAGE_PROBABILITY
        self.full |= unsure
        if not unsure or shown == WINDOW_FRAMES:
            self.language, self.probability = language, probability

    def doubts(self, draft: Draft, tokenizer: Tokenizer) -> bool:
        """Whether a text of a fitted window had better be heard again in the full one.

        A network that was only ever shown 30 s may, at the sudden end of fewer, say everything again.
        """
        return not self.full and not self.window.guess and self._is_doubtful(draft, tokenizer)

    def hear_again(self, doubted: Draft, shown: int) -> bool:
        """Have the piece heard in the full window, unless it was: a text that is not drawn would be the same."""
        self.full = True
        if shown == WINDOW_FRAMES and not doubted.temperature:
            return False
        self._doubted.append(doubted)
        return True

    def settled(self, draft: Draft, tokenizer: Tokenizer) -> Draft:
        """The text of a piece that is not heard again: where that of the full window will not do either, the likelier.

        One that repeats itself counts only if the other does, too, and up to there. It is nothing if it is improbable,
        or if it goes round where there may be no speech: to say the same again is always likely.
        """
        drafts = [draft, *self._doubted]
        if self.window.instructions.full_window or not self.full:
            return draft
        if draft.will_do and len(draft.tokens) < self.most_tokens:
            return draft
        ended = [one for one in drafts if not self._goes_on(one, tokenizer)]
        likeliest = max(ended or drafts, key=lambda one: one.mean_log_probability)
        if ended:
            return likeliest
        once = _said_once(likeliest.tokens, tokenizer)
        most = min(self.most_tokens, MAX_WRITTEN_TOKENS)
        goes_round = len(once) < len(likeliest.tokens) or len(likeliest.tokens) >= most
        unspoken = goes_round and likeliest.no_speech_probability > MAX_NO_SPEECH_PROBABILITY
        return replace(likeliest, tokens=[] if unspoken or likeliest.is_improbable else once)

    def _goes_on(self, draft: Draft, tokenizer: Tokenizer) -> bool:
        """Whether a text says the same again and again, or more than can be said."""
        once = _said_once(draft.tokens, tokenizer)
        return draft.repeats or len(draft.tokens) >= self.most_tokens or len(once) < len(draft.tokens)

    def _is_doubtful(self, draft: Draft, tokenizer: Tokenizer) -> bool:
        return (
            not draft.will_do
            or self._goes_on(draft, tokenizer)
            or draft.no_speech_probability > MAX_NO_SPEECH_PROBABILITY
            or any(token > tokenizer.timestamp_begin + self.frames // 2 for token in draft.tokens)
        )

    def write(self, draft: Draft, encoded: NDArray[Any], tokenizer: Tokenizer, model: WhisperModel) -> None:
        """Take what was written of the piece, and go on behind it: where its last complete phrase ends, or at its end.

        Args:
            draft: That, what was forced included.
            encoded: (1, positions, width), what was made of the piece.
            tokenizer: Of the window's language.
            model: The reference, which splits texts into phrases and finds their words. If it has no memory for that,
                nothing is taken.
        """
        began, size, timed = self._heard, self.size, self.timed
        guess = self.window.guess
        nothing = not draft.tokens or draft.is_silence or (guess and self._is_doubtful(draft, tokenizer))
        if nothing or (not self.window.instructions.full_window and _may_be_nothing(draft)):
            self._take(began + size, [])
            return
        phrases, heard, ends_in_silence = model._split_segments_by_timestamps(
            tokenizer=tokenizer,
            tokens=draft.tokens,
            time_offset=began / FRAMES_PER_SECOND,
            segment_size=size,
            segment_duration=size / FRAMES_PER_SECOND,
            seek=began,
        )
        last_end: float | None = None
        if self.window.instructions.word_times:
            self._find_words(phrases, encoded, size, tokenizer, model)
            last_end = get_end(phrases)
            if timed and last_end is not None and last_end * FRAMES_PER_SECOND > began and not ends_in_silence:
                heard = round(last_end * FRAMES_PER_SECOND)
        said_all = all(token >= tokenizer.timestamp_begin for token in draft.tokens[-2:])
        rest = began + size - heard
        goes_on = self.full or not said_all or rest > QUIET_SECONDS * FRAMES_PER_SECOND
        said = [
            self._segment(phrase, tokenizer.decode(phrase["tokens"]), draft)
            for phrase in phrases
            if phrase["start"] != phrase["end"]
        ]
        self._take(heard if goes_on and heard > began and not guess else began + size, said)
        self._last_end = last_end or self._last_end

    def align(self, encoded: NDArray[Any], tokenizer: Tokenizer, model: WhisperModel) -> None:
        """Find the words of the known text; the window is then through."""
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
        self._take(frames, [self._segment(phrase, self.window.text, draft)])

    def passage(self) -> Passage:
        """What was said in the window."""
        segments = tuple(segment for segment in self._segments if any(map(str.isalnum, segment.text)))
        if segments or self.window.instructions.language:
            return Passage(self.language, self.probability, segments)
        return Passage("", 0.0, ())

    def _take(self, heard: int, segments: list[Segment]) -> None:
        """So much has been heard, and this was said in it."""
        self._heard, self._doubted = heard, []
        self._segments += segments

    def _find_words(
        self,
        phrases: list[dict[str, Any]],
        encoded: NDArray[Any],
        frames: int,
        tokenizer: Tokenizer,
        model: WhisperModel,
    ) -> None:
        """Give each phrase its words, by the cross-attention of the heads that follow the sound."""
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

    def _words(self, found: Sequence[dict[str, Any]]) -> tuple[Word, ...]:
        words = joined([Word(*self._within(word), word["word"], float(word["probability"])) for word in found])
        return tuple(words if self.window.instructions.full_window else sharpened(words, self.window.samples))

    def _within(self, timed: dict[str, Any]) -> tuple[float, float]:
        """From when to when, kept within the window."""
        start = min(float(timed["start"]), self.window.seconds)
        return start, max(start, min(float(timed["end"]), self.window.seconds))


def fitted(seconds: float) -> float:
    """How much the encoder sees of a piece, in seconds."""
    return min(max(seconds + MARGIN_SECONDS, LEAST_SECONDS), WINDOW_SECONDS)


def _may_be_nothing(draft: Draft) -> bool:
    """Whether a text may stand for no speech: the reference would rather write `You` for silence."""
    likely = draft.mean_log_probability > SURE_LOG_PROBABILITY
    return draft.no_speech_probability > MAX_NO_SPEECH_PROBABILITY and not likely


def _said_once(tokens: list[int], tokenizer: Tokenizer) -> list[int]:
    """The tokens until some of their words are said a second time in a row; all, if none are."""
    places = [place for place, token in enumerate(tokens) if token < tokenizer.eot]
    words = [tokens[place] for place in places]
    for period in range(REPEATED_TOKENS, len(words) // 2 + 1):
        same = 0
        for at, (one, other) in enumerate(zip(words, words[period:], strict=False)):
            same = same + 1 if one == other else 0
            if same == period:
                return tokens[: places[at + 1]]
    return tokens
