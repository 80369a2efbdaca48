"""Whisper through CTranslate2: windows of speech, of one caller or of many, encoded and written down together.

The encoder was made for 30 s, mostly empty, and that is its cost. Here it sees the longest window of the
batch and a margin after it. What is then written is doubted where it is improbable, repeats itself, runs
past the end or may stand for no speech: such a window is heard again in full, in another run, and the better text
counts. No window is conditioned on the text of another, so that a repetition ends with its window.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_ctranslate2_storage
from numpy.typing import NDArray

from servekit.models.catalogue import ModelSpec
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import EngineCrashed, InvalidArgument, OutOfMemory, TooLarge
from services.speech.settings import SpeechSettings
from services.speech.transcription import (
    LISTENING_RATE,
    WINDOW_SECONDS,
    Instructions,
    Passage,
    Window,
)
from services.speech.transcription.models.whisper.decoding import Decoder, rows_of
from services.speech.transcription.models.whisper.hearing import FRAMES_PER_SECOND, Hearing, fitted

MAX_PROMPT_TOKENS = 223  # of the decoder's 448 positions; of a longer prompt its end counts
MAX_HOTWORD_TOKENS = 111  # of these
MAX_GIVEN_TOKENS = 440  # of a text to be aligned: the decoder's positions but for those that begin and end it
LINGERING = LISTENING_RATE // 2  # samples of the room after the last of the speech
MAX_PADDING = 1.25  # what a batch may take over what its windows would take one by one, where a row costs a row
MAX_FREE_PADDING = 2.0  # and on a GPU, where the first rows cost nothing

# Noise as faint as it is in every room.
_ROOM = np.random.default_rng(0).normal(0.0, 0.0005, int(WINDOW_SECONDS * LISTENING_RATE)).astype(np.float32)


class Whisper:
    """One set of weights for all engines; each run computes on the thread that makes it.

    Args:
        model: The loaded network, and the reference's pieces around it.
        beam_size: Hypotheses that are kept while decoding.
        translates: Whether it has learnt to translate.
    """

    def __init__(self, model: WhisperModel, beam_size: int, *, translates: bool = True) -> None:
        self._model = model
        self._translates = translates and model.model.is_multilingual
        self._rows_are_free: bool = model.model.device != "cpu"
        self._tokenizers: dict[tuple[str, str], Tokenizer] = {}
        self._decoder = Decoder(model.model, self._tokenizer("en", "transcribe"), beam_size)

    @property
    def batches(self) -> bool:
        return self._rows_are_free

    def check(self, instructions: Instructions) -> None:
        if instructions.language and instructions.language not in self._model.supported_languages:
            raise InvalidArgument(
                f"the model does not know the language {instructions.language!r}; it takes codes such as 'en' or 'zh'",
                field="language",
            )
        if instructions.task == "translate" and not self._translates:
            raise InvalidArgument("this model has not learnt to translate", field="task")

    def cost(self, window: Window) -> float:
        if window.begun:
            return float(window.begun.frames / FRAMES_PER_SECOND)
        return WINDOW_SECONDS if window.instructions.full_window else fitted(window.seconds)

    def prepare(self, request: Window) -> Hearing:
        if request.begun:
            hearing: Hearing = request.begun
            return hearing
        samples = request.samples if request.instructions.full_window else _in_a_room(request.samples)
        mel = self._model.feature_extractor(samples)[:, :-1]
        words = request.text.strip()
        tokens = self._model.hf_tokenizer.encode(f" {words}", add_special_tokens=False).ids if words else []
        if len(tokens) > MAX_GIVEN_TOKENS:
            raise TooLarge("more words than are said in half a minute", field="text")
        return Hearing(request, mel, tokens)

    def run(self, items: Sequence[Hearing], cancellation: CancellationToken) -> list[Passage | Window]:
        with _engine_errors():
            for batch in self._batches([hearing for hearing in items if hearing.is_open]):
                cancellation.raise_if_cancelled()
                self._hear(batch, cancellation)
        return [replace(hearing.window, begun=hearing) if hearing.is_open else hearing.passage() for hearing in items]

    def _batches(self, hearings: list[Hearing]) -> Iterator[list[Hearing]]:
        """What is encoded together: windows of like length, and on a GPU not so like."""
        most = MAX_FREE_PADDING if self._rows_are_free else MAX_PADDING
        batch: list[Hearing] = []
        for hearing in sorted(hearings, key=lambda hearing: hearing.frames, reverse=True):
            wanted = sum(other.frames for other in batch) + hearing.frames
            if batch and batch[0].frames * (len(batch) + 1) > wanted * most:
                yield batch
                batch = []
            batch.append(hearing)
        if batch:
            yield batch

    def _hear(self, batch: list[Hearing], cancellation: CancellationToken) -> None:
        """Hear the next piece of each, or find that it has to be heard in the full window."""
        encoded = self._encode(batch)
        self._detect_languages(batch, encoded, cancellation)
        for row, hearing in enumerate(batch):
            if hearing.text_tokens and hearing.language:
                cancellation.raise_if_cancelled()
                hearing.align(rows_of(encoded, [row]), self._tokenizer_of(hearing), self._model)
        rows = [row for row, hearing in enumerate(batch) if hearing.language and not hearing.text_tokens]
        for way in sorted({_way(batch[row]) for row in rows}):
            alike = [row for row in rows if _way(batch[row]) == way]
            self._write([batch[row] for row in alike], rows_of(encoded, alike), cancellation)

    def _encode(self, batch: list[Hearing]) -> NDArray[Any]:
        """(windows, positions, width), in the computer's memory, where rows can be told apart."""
        frames = max(hearing.frames for hearing in batch)
        mel = np.stack([pad_or_trim(hearing.piece, frames) for hearing in batch])
        return np.asarray(self._model.model.encode(get_ctranslate2_storage(mel), to_cpu=True))

    def _detect_languages(self, batch: list[Hearing], encoded: NDArray[Any], cancellation: CancellationToken) -> None:
        rows = [row for row, hearing in enumerate(batch) if not hearing.language]
        if not rows:
            return
        if not self._model.model.is_multilingual:
            found = [[("<|en|>", 1.0)]] * len(rows)
        else:
            cancellation.raise_if_cancelled()
            found = self._model.model.detect_language(get_ctranslate2_storage(rows_of(encoded, rows)))
        for row, ((token, probability), *_) in zip(rows, found, strict=True):
            batch[row].detected(token.strip("<|>"), probability, 2 * encoded.shape[1])

    def _write(self, batch: list[Hearing], encoded: NDArray[Any], cancellation: CancellationToken) -> None:
        """Write down windows that are to be decoded the same way."""
        tokenizers = [self._tokenizer_of(hearing) for hearing in batch]
        prompts = [self._prompt(hearing, tokenizer) for hearing, tokenizer in zip(batch, tokenizers, strict=True)]
        most = max(hearing.most_tokens for hearing in batch)
        drafts = self._decoder.decode(encoded, prompts, batch[0].temperatures, most, cancellation)
        for row, (hearing, draft, tokenizer) in enumerate(zip(batch, drafts, tokenizers, strict=True)):
            if hearing.doubts(draft, tokenizer) and hearing.hear_again(draft, 2 * encoded.shape[1]):
                continue
            cancellation.raise_if_cancelled()
            hearing.write(hearing.settled(draft, tokenizer), rows_of(encoded, [row]), tokenizer, self._model)

    def _prompt(self, hearing: Hearing, tokenizer: Tokenizer) -> list[int]:
        """What the text follows: words that came before, what language it is and, at the beginning, what is known."""
        if hearing.is_begun:
            return list(tokenizer.sot_sequence)
        instructions, prefix = hearing.window.instructions, hearing.window.prefix.strip()
        prompt, hotwords = instructions.prompt.strip(), " ".join(instructions.hotwords)
        expected = tokenizer.encode(f" {hotwords}")[:MAX_HOTWORD_TOKENS] if hotwords else []
        before = tokenizer.encode(f" {prompt}")[len(expected) - MAX_PROMPT_TOKENS :] if prompt else []
        return list(
            self._model.get_prompt(
                tokenizer, expected + before, without_timestamps=not hearing.timed, prefix=prefix or None
            )
        )

    def _tokenizer_of(self, hearing: Hearing) -> Tokenizer:
        return self._tokenizer(hearing.language, hearing.window.instructions.task)

    def _tokenizer(self, language: str, task: str) -> Tokenizer:
        key = (language, task)
        if key not in self._tokenizers:
            multilingual = self._model.model.is_multilingual
            self._tokenizers[key] = Tokenizer(self._model.hf_tokenizer, multilingual, task=task, language=language)
        return self._tokenizers[key]

    def warm(self) -> None:
        second = np.zeros(LISTENING_RATE, np.float32)
        self.run(
            [self.prepare(Window(second, Instructions(), guess=True))], CancellationToken()
        )  # of silence all is doubted

    def close(self) -> None:
        self._model.model.unload_model()


def _way(hearing: Hearing) -> tuple[bool, tuple[float, ...]]:
    """Windows for which this is the same are decoded together."""
    return hearing.timed, hearing.temperatures


def _in_a_room(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sound in a room that is heard for a moment longer.

    The last word of a sound that is cut off is misheard, and digital silence, as noise gates leave it, is nothing that
    the network was shown: around a short phrase it repeats that without end.
    """
    padded = np.pad(samples, (0, LINGERING))
    return padded + np.resize(_ROOM, len(padded))


@contextmanager
def _engine_errors() -> Iterator[None]:
    """What the engine says of its device, in our words."""
    try:
        yield
    except RuntimeError as error:
        if "out of memory" in str(error):
            raise OutOfMemory("no memory for so many windows") from error
        if "CUDA failed" in str(error):
            raise EngineCrashed(str(error)) from error
        raise


def load(spec: ModelSpec, settings: SpeechSettings) -> Whisper:
    """Load a CTranslate2 Whisper from the model's folder.

    Options of the spec: `device` (auto), `compute_type` (int8), `beam_size` (5), `translates` (true).
    """
    model = WhisperModel(
        str(spec.folder(settings.models_dir)),
        device=spec.options.get("device", "auto"),
        compute_type=spec.options.get("compute_type", "int8"),
        cpu_threads=min(settings.transcribe_threads, settings.threads),
        num_workers=settings.transcribe_slots,
        local_files_only=True,
    )
    return Whisper(model, spec.options.get("beam_size", 5), translates=spec.options.get("translates", True))
