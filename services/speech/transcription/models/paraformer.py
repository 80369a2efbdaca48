"""FunASR's Paraformer as one ONNX graph: non-autoregressive transcription of Chinese with English words.

Gao et al., "Paraformer: Fast and Accurate Parallel Transformer for Non-autoregressive End-to-End Speech Recognition",
Interspeech 2022, arXiv:2206.08317. The files are those of `funasr-onnx`. The model has no beam search, prompt or
punctuation. It masks padding, so windows of different lengths can run in one batch.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException

from servekit.context import CancellationToken
from servekit.echo import cut
from servekit.errors import FailedPrecondition, InvalidArgument
from servekit.models.backend import TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.catalogue import ModelSpec
from services.speech.audio import SAMPLE_RATE
from services.speech.settings import SpeechSettings
from services.speech.transcription import RecognizedWord, Segment, TranscriptionOptions, Window, WindowResult
from services.speech.transcription.models.fbank import FilterBank

BANDS = 80
STACKED, STEP = 7, 6  # the number of frames in one input of the network, and the step between inputs
PEAK_SECONDS = 0.02  # between two values of the curve whose peaks are tokens
PEAK_LAG = 1.5  # the delay of a peak, in these values
MAX_TOKEN = 30  # the maximum duration of a token, in these values; the rest is silence
MARKS = ("<blank>", "<s>", "</s>")  # tokens without text
_HAN = re.compile("[\u3007\u3400-\u9fff\uf900-\ufaff]")
_UNIT = re.compile(rf"{_HAN.pattern}|(?:(?!{_HAN.pattern})\S)+")


@dataclass(frozen=True, slots=True)
class _Task:
    window: Window
    features: NDArray[np.float32]


class Paraformer:
    """A transcriber with one network.

    Args:
        backend: Takes `speech`, float32 (batch, frames, 560), and `speech_lengths`, int32 (batch,); gives log
            probabilities (batch, tokens, vocabulary), the number of tokens (batch,) and, in an export with timestamps,
            two curves (batch, 3 x frames), the second of which has a peak where a token begins.
        tokens: The text of each token; `@@` at its end means that the next token belongs to the same word.
        shift: Added to the features first, (560,).
        scale: Multiplied with the features then, (560,).
        batches: Whether windows run in batches.
        end_tokens: The number of end tokens in the output.
    """

    def __init__(
        self,
        backend: TensorBackend,
        tokens: Sequence[str],
        shift: NDArray[np.float32],
        scale: NDArray[np.float32],
        *,
        batches: bool = False,
        end_tokens: int = 1,
    ) -> None:
        self._backend = backend
        self._tokens = tokens
        self._shift, self._scale = shift, scale
        self._filters = FilterBank(BANDS)
        self._end_tokens = end_tokens
        self._has_timestamps = len(backend.outputs) == 4
        self.batches = batches

    def check(self, options: TranscriptionOptions) -> None:
        if options.language not in ("", "zh", "en"):
            raise InvalidArgument(f"language must be zh or en, got {cut(options.language)!r}", field="language")
        requested = {
            "task": options.task == "translate",
            "prompt": bool(options.prompt),
            "hotwords": bool(options.hotwords),
            "temperature": bool(options.temperature),
            "word_times": options.word_times and not self._has_timestamps,
        }
        for field, is_requested in requested.items():
            if is_requested:
                raise InvalidArgument(f"the model does not support {field}", field=field)

    def cost(self, window: Window) -> float:
        return window.seconds

    def prepare(self, request: Window) -> _Task:
        if request.text:
            raise InvalidArgument("the model does not support the alignment of a text", field="text")
        features = stacked(self._filters(request.samples))
        return _Task(request, ((features + self._shift) * self._scale).astype(np.float32))

    def run(self, items: Sequence[_Task], cancellation: CancellationToken) -> list[WindowResult]:
        audible = [task for task in items if len(task.features) and task.window.samples.any()]
        results = dict(zip(map(id, audible), self._transcribe(audible, cancellation), strict=True))
        return [results.get(id(task), _empty(task.window)) for task in items]

    def _transcribe(self, tasks: Sequence[_Task], cancellation: CancellationToken) -> list[WindowResult]:
        if not tasks:
            return []
        cancellation.raise_if_cancelled()
        lengths = np.array([len(task.features) for task in tasks], np.int32)
        speech = np.stack([np.pad(task.features, ((0, max(lengths) - len(task.features)), (0, 0))) for task in tasks])
        try:
            arrays = self._backend.infer({"speech": speech, "speech_lengths": lengths})
        except (Fail, RuntimeException):  # the model found no tokens, and its decoder fails on an empty input
            if len(tasks) == 1:
                return [_empty(tasks[0].window)]
            return [result for task in tasks for result in self._transcribe([task], cancellation)]
        scores, counts, *curves = (arrays[spec.name] for spec in self._backend.outputs)
        peaks = curves[1] if curves else [None] * len(tasks)
        return [self._result(task, *found) for task, *found in zip(tasks, scores, counts, peaks, strict=True)]

    def _result(
        self, task: _Task, scores: NDArray[np.float32], count: int, peaks: NDArray[np.float32] | None
    ) -> WindowResult:
        window, options = task.window, task.window.options
        scores = scores[: max(0, int(count) - self._end_tokens)].astype(np.float64)
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        texts = [self._tokens[number] for number in scores.argmax(axis=1)]
        times = None if peaks is None else token_times(peaks.reshape(-1), len(texts), len(task.features))
        words = joined(texts, scores.max(axis=1), times or [(0.0, window.seconds)] * len(texts))
        if not words:
            return _empty(window)
        units = [word.text for word in words]
        if prefix := _UNIT.findall(window.prefix):
            units = prefix + units[len(prefix) :]
        mean_log_probability = float(scores.max(axis=1).mean())
        segment = Segment(
            start=words[0].start,
            end=min(words[-1].end, window.seconds),
            text=sentence(units),
            mean_log_probability=mean_log_probability,
            no_speech_probability=0.0,
            words=tuple(words) if options.word_times and times else (),
        )
        language = options.language or ("zh" if _HAN.search(segment.text) else "en")
        return WindowResult(language, 1.0 if options.language else float(np.exp(mean_log_probability)), (segment,))

    def warm(self) -> None:
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, SAMPLE_RATE).astype(np.float32)
        self.run([self.prepare(Window(noise, TranscriptionOptions()))], CancellationToken())

    def close(self) -> None:
        self._backend.close()


def _empty(window: Window) -> WindowResult:
    language = window.options.language
    return WindowResult(language, 1.0 if language else 0.0, ())


def stacked(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stack `STACKED` of (frames, bands) every `STEP`; the first and last frames are repeated as padding."""
    if not len(features):
        return np.zeros((0, features.shape[1] * STACKED), np.float32)
    count = -(-len(features) // STEP)
    before = STACKED // 2
    rows = np.arange(count)[:, None] * STEP + np.arange(STACKED) - before
    found: NDArray[np.float32] = features[np.clip(rows, 0, len(features) - 1)].reshape(count, -1)
    return found


def token_times(peaks: NDArray[np.float32], count: int, frames: int) -> list[tuple[float, float]] | None:
    """The start and end of each token in seconds; None if the number of peaks does not match the tokens.

    At a peak, a token begins and the one before it ends, as in `funasr-onnx`.
    """
    fires = np.flatnonzero(peaks[: 3 * frames] > 1.0 - 1e-4) - PEAK_LAG
    if len(fires) != count + 1 or not count:
        return None
    starts, ends = fires[:-1], np.minimum(fires[1:], fires[:-1] + MAX_TOKEN)
    bounds = np.maximum(0.0, np.stack([starts, ends], axis=1)) * PEAK_SECONDS
    return [(float(start), float(end)) for start, end in bounds]


def joined(
    tokens: Sequence[str], scores: NDArray[np.float64], times: Sequence[tuple[float, float]]
) -> list[RecognizedWord]:
    """Join tokens to words: a Chinese character is a word; a token that ends in `@@` belongs to the next."""
    words: list[RecognizedWord] = []
    continues = False
    for token, score, (start, end) in zip(tokens, scores, times, strict=True):
        if token in MARKS:
            continue
        piece, probability = token.removesuffix("@@"), float(np.exp(score))
        if continues:
            previous = words.pop()
            piece, start, probability = previous.text + piece, previous.start, min(previous.probability, probability)
        words.append(RecognizedWord(start, end, piece, probability))
        continues = token.endswith("@@")
    return words


def sentence(words: Sequence[str]) -> str:
    """Join words to a text, without spaces beside Chinese characters."""
    text = " ".join(words)
    return re.sub(rf"(?<={_HAN.pattern}) | (?={_HAN.pattern})", "", text)


def read_normalisation(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read the shift and the scale from a Kaldi nnet1 text file, `am.mvn`.

    Raises:
        FailedPrecondition: The file does not have these rows.
    """
    text = path.read_text()
    found = [re.search(rf"<{name}>.*?\[([^\]]*)\]", text, re.DOTALL) for name in ("AddShift", "Rescale")]
    if not all(found):
        raise FailedPrecondition(f"{path.name} must have AddShift and Rescale")
    shift, scale = (np.array(row[1].split(), np.float32) for row in found if row)
    return shift, scale


def load(model_spec: ModelSpec, settings: SpeechSettings) -> Paraformer:
    """Load `model.onnx`, `am.mvn` and `tokens.json` from the folder of the model.

    Options of the spec: `end_tokens` (1), the bias of the predictor.

    Raises:
        FailedPrecondition: A file is missing.
    """
    folder = model_spec.folder(settings.models_dir)
    if not (folder / "model.onnx").is_file():
        made = f"model.onnx, am.mvn and tokens.json of `funasr-export ++model={model_spec.origin} ++type=onnx`"
        raise FailedPrecondition(f"{model_spec.id} has no model.onnx; put {made} into {folder}")
    shift, scale = read_normalisation(folder / "am.mvn")
    return Paraformer(
        OnnxBackend(folder / "model.onnx", min(settings.transcribe_threads, settings.threads), settings.provider),
        json.loads((folder / "tokens.json").read_text()),
        shift,
        scale,
        batches=settings.provider != "cpu",
        end_tokens=int(model_spec.options.get("end_tokens", 1)),
    )
