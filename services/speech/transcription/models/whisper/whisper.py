"""Whisper on CTranslate2, which transcribes windows of several callers in one batch.

The reference encoder always sees 30 s, most of them empty. Here it sees the longest window of the batch and a margin
after it. A text that is improbable, repetitive, too long or probably no speech falls back to the full window in another
run, and the better text is taken. No window is conditioned on the text of another, so that repetitions do not spread.
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

from servekit.context import CancellationToken
from servekit.echo import cut
from servekit.errors import EngineCrashed, InvalidArgument, OutOfMemory, TooLarge
from servekit.models.catalogue import ModelSpec
from services.speech.audio import SAMPLE_RATE
from services.speech.settings import SpeechSettings
from services.speech.transcription import WINDOW_SECONDS, TranscriptionOptions, Window, WindowResult
from services.speech.transcription.models.whisper.decoding import Decoder, rows_of
from services.speech.transcription.models.whisper.window_state import FRAMES_PER_SECOND, WindowState, fitted_seconds

MAX_PROMPT_TOKENS = 223  # of the decoder's 448 positions; longer prompts lose their beginning
MAX_HOTWORD_TOKENS = 111  # of the prompt tokens
MAX_GIVEN_TOKENS = 440  # of a text to align: the decoder's positions without the special tokens
TRAILING_SAMPLES = SAMPLE_RATE // 2  # samples of noise after the speech
MAX_PADDING = 1.25  # the cost of a batch relative to its windows one by one, on a CPU
MAX_FREE_PADDING = 2.0  # the same on a GPU, where additional rows are almost free

# Faint noise, as in any recorded room.
_NOISE = np.random.default_rng(0).normal(0.0, 0.0005, int(WINDOW_SECONDS * SAMPLE_RATE)).astype(np.float32)


class Whisper:
    """One set of weights for all engines; each run computes on the calling thread.

    Args:
        model: The reference implementation with the loaded network.
        beam_size: The beam size of decoding.
        translates: Whether the model was trained to translate.
    """

    def __init__(self, model: WhisperModel, beam_size: int, *, translates: bool = True) -> None:
        self._model = model
        self._translates = translates and model.model.is_multilingual
        self._on_gpu: bool = model.model.device != "cpu"
        self._tokenizers: dict[tuple[str, str], Tokenizer] = {}
        self._decoder = Decoder(model.model, self._tokenizer("en", "transcribe"), beam_size)

    @property
    def batches(self) -> bool:
        return self._on_gpu

    def check(self, options: TranscriptionOptions) -> None:
        if options.language and options.language not in self._model.supported_languages:
            raise InvalidArgument(
                f"language must be a code that the model supports, such as 'en' or 'zh', got {cut(options.language)!r}",
                field="language",
            )
        if options.task == "translate" and not self._translates:
            raise InvalidArgument("this model does not support translation", field="task")

    def cost(self, window: Window) -> float:
        if window.state:
            return float(window.state.frames / FRAMES_PER_SECOND)
        return WINDOW_SECONDS if window.options.full_window else fitted_seconds(window.seconds)

    def prepare(self, request: Window) -> WindowState:
        if request.state:
            state: WindowState = request.state
            return state
        samples = request.samples if request.options.full_window else _pad_with_noise(request.samples)
        mel = self._model.feature_extractor(samples)[:, :-1]
        words = request.text.strip()
        tokens = self._model.hf_tokenizer.encode(f" {words}", add_special_tokens=False).ids if words else []
        if len(tokens) > MAX_GIVEN_TOKENS:
            raise TooLarge(
                f"the text of a window must have at most {MAX_GIVEN_TOKENS} tokens, got {len(tokens)}", field="text"
            )
        return WindowState(request, mel, tokens)

    def run(self, items: Sequence[WindowState], cancellation: CancellationToken) -> list[WindowResult | Window]:
        with _engine_errors():
            for batch in self._batches([state for state in items if state.has_remaining]):
                cancellation.raise_if_cancelled()
                self._decode_batch(batch, cancellation)
        return [replace(state.window, state=state) if state.has_remaining else state.result() for state in items]

    def _batches(self, states: list[WindowState]) -> Iterator[list[WindowState]]:
        """Batches of windows of similar length, so that padding stays within its limit."""
        most = MAX_FREE_PADDING if self._on_gpu else MAX_PADDING
        batch: list[WindowState] = []
        for state in sorted(states, key=lambda state: state.frames, reverse=True):
            wanted = sum(other.frames for other in batch) + state.frames
            if batch and batch[0].frames * (len(batch) + 1) > wanted * most:
                yield batch
                batch = []
            batch.append(state)
        if batch:
            yield batch

    def _decode_batch(self, batch: list[WindowState], cancellation: CancellationToken) -> None:
        """Decode the next frames of each window, or request its full window."""
        encoded = self._encode(batch)
        self._detect_languages(batch, encoded, cancellation)
        for row, state in enumerate(batch):
            if state.text_tokens and state.language:
                cancellation.raise_if_cancelled()
                state.align(rows_of(encoded, [row]), self._tokenizer_of(state), self._model)
        rows = [row for row, state in enumerate(batch) if state.language and not state.text_tokens]
        for key in sorted({_decoding_key(batch[row]) for row in rows}):
            alike = [row for row in rows if _decoding_key(batch[row]) == key]
            self._decode_rows([batch[row] for row in alike], rows_of(encoded, alike), cancellation)

    def _encode(self, batch: list[WindowState]) -> NDArray[Any]:
        """The encoder output, (windows, positions, width), in host memory, where rows can be selected."""
        frames = max(state.frames for state in batch)
        mel = np.stack([pad_or_trim(state.features, frames) for state in batch])
        return np.asarray(self._model.model.encode(get_ctranslate2_storage(mel), to_cpu=True))

    def _detect_languages(
        self, batch: list[WindowState], encoded: NDArray[Any], cancellation: CancellationToken
    ) -> None:
        rows = [row for row, state in enumerate(batch) if not state.language]
        if not rows:
            return
        if not self._model.model.is_multilingual:
            found = [[("<|en|>", 1.0)]] * len(rows)
        else:
            cancellation.raise_if_cancelled()
            found = self._model.model.detect_language(get_ctranslate2_storage(rows_of(encoded, rows)))
        for row, ((token, probability), *_) in zip(rows, found, strict=True):
            batch[row].set_language(token.strip("<|>"), probability, 2 * encoded.shape[1])

    def _decode_rows(self, batch: list[WindowState], encoded: NDArray[Any], cancellation: CancellationToken) -> None:
        """Decode windows that share their decoding options."""
        tokenizers = [self._tokenizer_of(state) for state in batch]
        prompts = [self._prompt(state, tokenizer) for state, tokenizer in zip(batch, tokenizers, strict=True)]
        most = max(state.max_tokens for state in batch)
        drafts = self._decoder.decode(encoded, prompts, batch[0].temperatures, most, cancellation)
        for row, (state, draft, tokenizer) in enumerate(zip(batch, drafts, tokenizers, strict=True)):
            if state.needs_fallback(draft, tokenizer) and state.retry_full_window(draft, 2 * encoded.shape[1]):
                continue
            cancellation.raise_if_cancelled()
            state.accept(state.resolve(draft, tokenizer), rows_of(encoded, [row]), tokenizer, self._model)

    def _prompt(self, state: WindowState, tokenizer: Tokenizer) -> list[int]:
        """The prompt tokens: preceding text, language, task and prefix."""
        if state.is_resumed:
            return list(tokenizer.sot_sequence)
        options, prefix = state.window.options, state.window.prefix.strip()
        prompt, hotwords = options.prompt.strip(), " ".join(options.hotwords)
        hint = tokenizer.encode(f" {hotwords}")[:MAX_HOTWORD_TOKENS] if hotwords else []
        before = tokenizer.encode(f" {prompt}")[len(hint) - MAX_PROMPT_TOKENS :] if prompt else []
        return list(
            self._model.get_prompt(
                tokenizer, hint + before, without_timestamps=not state.with_timestamps, prefix=prefix or None
            )
        )

    def _tokenizer_of(self, state: WindowState) -> Tokenizer:
        return self._tokenizer(state.language, state.window.options.task)

    def _tokenizer(self, language: str, task: str) -> Tokenizer:
        key = (language, task)
        if key not in self._tokenizers:
            multilingual = self._model.model.is_multilingual
            self._tokenizers[key] = Tokenizer(self._model.hf_tokenizer, multilingual, task=task, language=language)
        return self._tokenizers[key]

    def warm(self) -> None:
        second = np.zeros(SAMPLE_RATE, np.float32)
        self.run(
            [self.prepare(Window(second, TranscriptionOptions(), interim=True))], CancellationToken()
        )  # of silence all is rejected

    def close(self) -> None:
        self._model.model.unload_model()


def _decoding_key(state: WindowState) -> tuple[bool, tuple[float, ...]]:
    """The options that windows of one decoding share."""
    return state.with_timestamps, state.temperatures


def _pad_with_noise(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add faint noise to the samples and after them.

    Without it the last word of audio that ends abruptly is often misrecognized, and digital silence, which the network
    was not trained on, makes it repeat short phrases endlessly.
    """
    padded = np.pad(samples, (0, TRAILING_SAMPLES))
    return padded + np.resize(_NOISE, len(padded))


@contextmanager
def _engine_errors() -> Iterator[None]:
    """Convert errors of the device."""
    try:
        yield
    except RuntimeError as error:
        if "out of memory" in str(error):
            raise OutOfMemory("the device has not enough memory for this batch") from error
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
