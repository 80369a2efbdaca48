"""Forced alignment by a wav2vec 2.0 network with a CTC head over letters, as one ONNX graph.

For example facebook/wav2vec2-base-960h (Baevski et al., "wav2vec 2.0", arXiv:2006.11477), exported by
`optimum-cli export onnx`: samples in, a row of logits every 20 ms out; vocab.json has the letters.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.echo import cut
from servekit.errors import FailedPrecondition, InvalidArgument
from servekit.media.scripts import is_unspaced
from servekit.models.backend import TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.catalogue import ModelSpec
from services.speech.alignment import AlignmentInput, WordTiming
from services.speech.alignment.models.ctc import Path, align
from services.speech.audio import SAMPLE_RATE
from services.speech.settings import SpeechSettings

MIN_SAMPLES = SAMPLE_RATE // 4  # the convolutions of the network need a minimum length
BLANK, WORD_SEPARATOR = "<pad>", "|"
NOT_FOUND = WordTiming(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class _Task:
    """Samples of mean 0 and variance 1, the tokens to align, and the slice of the tokens of each word."""

    samples: NDArray[np.float32]
    seconds: float
    tokens: NDArray[np.int64]
    words: Sequence[slice]


class Wav2Vec2:
    """An aligner with one network.

    Args:
        backend: Takes `input_values`, float32 (batch, samples); gives `logits`, float32 (batch, frames, vocabulary).
        vocabulary: The token of each letter, of `<pad>` for the blank and optionally of `|` for the space.
        languages: The supported languages as ISO 639-1 codes.

    Raises:
        FailedPrecondition: The vocabulary has no blank.
    """

    def __init__(self, backend: TensorBackend, vocabulary: Mapping[str, int], languages: Sequence[str]) -> None:
        if BLANK not in vocabulary:
            raise FailedPrecondition(f"the vocabulary must have {BLANK}, the blank")
        self._backend = backend
        self._letters = {letter.casefold(): number for letter, number in vocabulary.items() if len(letter) == 1}
        self._blank = vocabulary[BLANK]
        self._separator = vocabulary.get(WORD_SEPARATOR)
        self._languages = languages

    def check(self, language: str, words: Sequence[str]) -> None:
        if language and language not in self._languages:
            supported = ", ".join(self._languages)
            raise InvalidArgument(f"language must be one of {supported}, got {cut(language)!r}", field="language")
        supported_words = sum(any(letter in self._letters for letter in word) for word in words)
        if supported_words * 2 < len(words):
            raise InvalidArgument("text must mostly have letters that the model supports", field="text")

    def prepare(self, request: AlignmentInput) -> _Task:
        tokens: list[int] = []
        spaced = self._separator is not None and not is_unspaced("".join(request.words))
        words = []
        for word in request.words:
            letters = [self._letters[letter] for letter in word if letter != WORD_SEPARATOR and letter in self._letters]
            if letters and tokens and spaced and self._separator is not None:
                tokens.append(self._separator)
            words.append(slice(len(tokens), len(tokens) + len(letters)))
            tokens += letters
        samples = np.pad(request.samples, (0, max(0, MIN_SAMPLES - len(request.samples))))
        normalized = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        return _Task(
            normalized.astype(np.float32), len(samples) / SAMPLE_RATE, np.asarray(tokens, np.int64), tuple(words)
        )

    def run(self, items: Sequence[_Task], cancellation: CancellationToken) -> list[Sequence[WordTiming]]:
        """Run the windows one by one: the network has no attention mask, so padding would change the result."""
        results: list[Sequence[WordTiming]] = []
        for task in items:
            cancellation.raise_if_cancelled()
            logits = self._backend.infer({"input_values": task.samples[None]})["logits"][0].astype(np.float32)
            cancellation.raise_if_cancelled()
            path = align(_log_softmax(logits), task.tokens, self._blank)
            results.append(_timings(task, path, task.seconds / len(logits)) if path else [NOT_FOUND] * len(task.words))
        return results

    def warm(self) -> None:
        self.run([self.prepare(AlignmentInput(np.zeros(SAMPLE_RATE, np.float32), ("a",), ""))], CancellationToken())

    def close(self) -> None:
        self._backend.close()


def _timings(task: _Task, path: Path, frame: float) -> list[WordTiming]:
    """The timings of the words on a path; `frame` is the duration of a frame in seconds."""
    lengths = (path.ends - path.starts).astype(np.float64)
    timings = []
    for word in task.words:
        if word.start == word.stop:
            timings.append(NOT_FOUND)
            continue
        likely = float(np.average(path.log_probabilities[word], weights=lengths[word]))
        timings.append(
            WordTiming(path.starts[word.start] * frame, path.ends[word.stop - 1] * frame, float(np.exp(likely)))
        )
    return timings


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert rows of logits to log probabilities."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def load(spec: ModelSpec, settings: SpeechSettings) -> Wav2Vec2:
    """Load `model.onnx` and `vocab.json` from the folder of the model.

    Options of the spec: `languages`, and `revision`, the revision of its origin.

    Raises:
        FailedPrecondition: A file is missing.
    """
    folder = spec.folder(settings.models_dir)
    if not (folder / "model.onnx").is_file():
        source = f"--model {spec.origin} --revision {spec.options['revision']}"
        command = f"optimum-cli export onnx --task automatic-speech-recognition {source} {folder}"
        raise FailedPrecondition(f"{spec.id} has no model.onnx; create it with `{command}`")
    vocabulary = json.loads((folder / "vocab.json").read_text())
    backend = OnnxBackend(folder / "model.onnx", settings.threads, settings.provider)
    return Wav2Vec2(backend, vocabulary, spec.options["languages"])
