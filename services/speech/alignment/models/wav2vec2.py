"""A wav2vec 2.0 network with a CTC head over letters, as one ONNX graph: when known words are said.

For example facebook/wav2vec2-base-960h (Baevski et al., "wav2vec 2.0", arXiv:2006.11477), as `optimum-cli export onnx`
writes it: samples in, a row of logits every 20 ms out, the letters in vocab.json.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servekit.media.scripts import is_unspaced
from servekit.models.backend import TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.catalogue import ModelSpec
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import FailedPrecondition, InvalidArgument
from services.speech.alignment import AlignmentInput, WordTiming
from services.speech.alignment.models.ctc import Path, align
from services.speech.audio import SAMPLE_RATE
from services.speech.settings import SpeechSettings

MIN_SAMPLES = SAMPLE_RATE // 4  # the network's convolutions need some sound to stand on
BLANK, BETWEEN = "<pad>", "|"
NOT_FOUND = WordTiming(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class _Task:
    """Samples of mean 0 and variance 1, the tokens to find in them, and which of these are of each word."""

    samples: NDArray[np.float32]
    seconds: float
    tokens: NDArray[np.int64]
    words: Sequence[slice]


class Wav2Vec2:
    """A network and its letters.

    Args:
        backend: Takes `input_values`, float32 (batch, samples); gives `logits`, float32 (batch, frames, vocabulary).
        vocabulary: The letters and their numbers, `<pad>` for the blank and, where it has one, `|` for the space.
        languages: ISO 639-1 codes of what it has learnt.

    Raises:
        FailedPrecondition: The vocabulary has no blank.
    """

    def __init__(self, backend: TensorBackend, vocabulary: Mapping[str, int], languages: Sequence[str]) -> None:
        if BLANK not in vocabulary:
            raise FailedPrecondition(f"the vocabulary has no {BLANK}, which stands for the blank")
        self._backend = backend
        self._letters = {letter.casefold(): number for letter, number in vocabulary.items() if len(letter) == 1}
        self._blank = vocabulary[BLANK]
        self._between = vocabulary.get(BETWEEN)
        self._languages = languages

    def check(self, language: str, words: Sequence[str]) -> None:
        if language and language not in self._languages:
            known = ", ".join(self._languages)
            raise InvalidArgument(f"the model knows {known}, not {language!r}", field="language")
        spelt = sum(any(letter in self._letters for letter in word) for word in words)
        if spelt * 2 < len(words):
            raise InvalidArgument("the model does not know the letters of the text", field="text")

    def prepare(self, request: AlignmentInput) -> _Task:
        tokens: list[int] = []
        spaced = self._between is not None and not is_unspaced("".join(request.words))
        words = []
        for word in request.words:
            letters = [self._letters[letter] for letter in word if letter != BETWEEN and letter in self._letters]
            if letters and tokens and spaced and self._between is not None:
                tokens.append(self._between)
            words.append(slice(len(tokens), len(tokens) + len(letters)))
            tokens += letters
        samples = np.pad(request.samples, (0, max(0, MIN_SAMPLES - len(request.samples))))
        normal = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        return _Task(normal.astype(np.float32), len(samples) / SAMPLE_RATE, np.asarray(tokens, np.int64), tuple(words))

    def run(self, items: Sequence[_Task], cancellation: CancellationToken) -> list[Sequence[WordTiming]]:
        """One window a run of the network: padding would change what it hears, for it has no mask."""
        found: list[Sequence[WordTiming]] = []
        for task in items:
            cancellation.raise_if_cancelled()
            logits = self._backend.infer({"input_values": task.samples[None]})["logits"][0].astype(np.float32)
            cancellation.raise_if_cancelled()
            path = align(_log_softmax(logits), task.tokens, self._blank)
            found.append(_timings(task, path, task.seconds / len(logits)) if path else [NOT_FOUND] * len(task.words))
        return found

    def warm(self) -> None:
        self.run([self.prepare(AlignmentInput(np.zeros(SAMPLE_RATE, np.float32), ("a",), ""))], CancellationToken())

    def close(self) -> None:
        self._backend.close()


def _timings(task: _Task, path: Path, frame: float) -> list[WordTiming]:
    """The words of a path, from their first letter to their last; a frame lasts so many seconds."""
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
    """Rows of logits as log probabilities."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def load(spec: ModelSpec, settings: SpeechSettings) -> Wav2Vec2:
    """Load `model.onnx` and `vocab.json` of the model's folder.

    Options of the spec: `languages`, and `revision` of its origin.

    Raises:
        FailedPrecondition: They are not there.
    """
    folder = spec.folder(settings.models_dir)
    if not (folder / "model.onnx").is_file():
        source = f"--model {spec.origin} --revision {spec.options['revision']}"
        command = f"optimum-cli export onnx --task automatic-speech-recognition {source} {folder}"
        raise FailedPrecondition(f"{spec.id} has no model.onnx; make it with `{command}`")
    vocabulary = json.loads((folder / "vocab.json").read_text())
    backend = OnnxBackend(folder / "model.onnx", settings.threads, settings.provider)
    return Wav2Vec2(backend, vocabulary, spec.options["languages"])
