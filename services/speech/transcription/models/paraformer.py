"""FunASR's Paraformer as one ONNX graph: Chinese, with English words in it, written down in one step.

Gao et al., "Paraformer: Fast and Accurate Parallel Transformer for Non-autoregressive End-to-End Speech Recognition",
Interspeech 2022, arXiv:2206.08317. The files are those that `funasr-onnx` reads. It has no beam, takes no prompt,
writes no punctuation, and looks only at the sound that there is: windows of different lengths are masked.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException

from servekit.models.backend import TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.catalogue import ModelSpec
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import FailedPrecondition, InvalidArgument
from services.speech.audio import SAMPLE_RATE
from services.speech.settings import SpeechSettings
from services.speech.transcription import RecognizedWord, Segment, TranscriptionOptions, Window, WindowResult
from services.speech.transcription.models.fbank import FilterBank

BANDS = 80
STACKED, STEP = 7, 6  # frames that the network takes as one, and how far it goes on
PEAK_SECONDS = 0.02  # between two values of the curve whose peaks are the characters
PEAK_LAG = 1.5  # of these values: a peak comes that much late
LONGEST_CHARACTER = 30  # of these values; what is longer is silence after it
MARKS = ("<blank>", "<s>", "</s>")  # tokens that are no text
_HAN = re.compile("[\u3007\u3400-\u9fff\uf900-\ufaff]")
_UNIT = re.compile(rf"{_HAN.pattern}|(?:(?!{_HAN.pattern})\S)+")


@dataclass(frozen=True, slots=True)
class _Task:
    window: Window
    features: NDArray[np.float32]


class Paraformer:
    """A network, its tokens and the mean and scale of its features.

    Args:
        backend: Takes `speech`, float32 (batch, frames, 560), and `speech_lengths`, int32 (batch,); gives log
            probabilities (batch, tokens, vocabulary), how many tokens there are (batch,) and, in an export that tells
            times, two curves (batch, 3 x frames) of which the second peaks where a token begins.
        tokens: By their numbers; `@@` ends one that goes on in the next.
        shift: Added to the features, (560,).
        scale: That they are then multiplied with, (560,).
        batches: Whether windows run together.
        end_tokens: How many of the tokens stand for the end.
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
        self._tells_times = len(backend.outputs) == 4
        self.batches = batches

    def check(self, options: TranscriptionOptions) -> None:
        if options.language not in ("", "zh", "en"):
            raise InvalidArgument(f"the model knows zh, en, not {options.language!r}", field="language")
        wanted = {
            "task": options.task == "translate",
            "prompt": bool(options.prompt),
            "hotwords": bool(options.hotwords),
            "temperature": bool(options.temperature),
            "word_times": options.word_times and not self._tells_times,
        }
        for field, is_wanted in wanted.items():
            if is_wanted:
                raise InvalidArgument(f"the model takes no {field}", field=field)

    def cost(self, window: Window) -> float:
        return window.seconds

    def prepare(self, request: Window) -> _Task:
        if request.text:
            raise InvalidArgument("the model does not align words that are known", field="text")
        features = stacked(self._filters(request.samples))
        return _Task(request, ((features + self._shift) * self._scale).astype(np.float32))

    def run(self, items: Sequence[_Task], cancellation: CancellationToken) -> list[WindowResult]:
        heard = [task for task in items if len(task.features) and task.window.samples.any()]
        passages = dict(zip(map(id, heard), self._hear(heard, cancellation), strict=True))
        return [passages.get(id(task), _nothing(task.window)) for task in items]

    def _hear(self, tasks: Sequence[_Task], cancellation: CancellationToken) -> list[WindowResult]:
        if not tasks:
            return []
        cancellation.raise_if_cancelled()
        lengths = np.array([len(task.features) for task in tasks], np.int32)
        speech = np.stack([np.pad(task.features, ((0, max(lengths) - len(task.features)), (0, 0))) for task in tasks])
        try:
            arrays = self._backend.infer({"speech": speech, "speech_lengths": lengths})
        except (Fail, RuntimeException):  # it finds no token, and its decoder cannot be run on none
            if len(tasks) == 1:
                return [_nothing(tasks[0].window)]
            return [result for task in tasks for result in self._hear([task], cancellation)]
        scores, counts, *curves = (arrays[spec.name] for spec in self._backend.outputs)
        peaks = curves[1] if curves else [None] * len(tasks)
        return [self._passage(task, *found) for task, *found in zip(tasks, scores, counts, peaks, strict=True)]

    def _passage(
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
            return _nothing(window)
        units = [word.text for word in words]
        if prefix := _UNIT.findall(window.prefix):
            units = prefix + units[len(prefix) :]
        likely = float(scores.max(axis=1).mean())
        segment = Segment(
            start=words[0].start,
            end=min(words[-1].end, window.seconds),
            text=sentence(units),
            mean_log_probability=likely,
            no_speech_probability=0.0,
            words=tuple(words) if options.word_times and times else (),
        )
        language = options.language or ("zh" if _HAN.search(segment.text) else "en")
        return WindowResult(language, 1.0 if options.language else float(np.exp(likely)), (segment,))

    def warm(self) -> None:
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, SAMPLE_RATE).astype(np.float32)
        self.run([self.prepare(Window(noise, TranscriptionOptions()))], CancellationToken())

    def close(self) -> None:
        self._backend.close()


def _nothing(window: Window) -> WindowResult:
    language = window.options.language
    return WindowResult(language, 1.0 if language else 0.0, ())


def stacked(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Frames, (frames, bands), `STACKED` of them side by side every `STEP`; the first and the last are repeated."""
    if not len(features):
        return np.zeros((0, features.shape[1] * STACKED), np.float32)
    count = -(-len(features) // STEP)
    before = STACKED // 2
    rows = np.arange(count)[:, None] * STEP + np.arange(STACKED) - before
    found: NDArray[np.float32] = features[np.clip(rows, 0, len(features) - 1)].reshape(count, -1)
    return found


def token_times(peaks: NDArray[np.float32], count: int, frames: int) -> list[tuple[float, float]] | None:
    """From when to when each token lasts, in seconds; None where there are not as many peaks as the tokens want.

    A peak is where a token begins and the one before it ends, as `funasr-onnx` reads them.
    """
    fires = np.flatnonzero(peaks[: 3 * frames] > 1.0 - 1e-4) - PEAK_LAG
    if len(fires) != count + 1 or not count:
        return None
    starts, ends = fires[:-1], np.minimum(fires[1:], fires[:-1] + LONGEST_CHARACTER)
    bounds = np.maximum(0.0, np.stack([starts, ends], axis=1)) * PEAK_SECONDS
    return [(float(start), float(end)) for start, end in bounds]


def joined(
    tokens: Sequence[str], scores: NDArray[np.float64], times: Sequence[tuple[float, float]]
) -> list[RecognizedWord]:
    """Tokens as words: a Chinese character is one, pieces that end in `@@` belong to the next."""
    words: list[RecognizedWord] = []
    goes_on = False
    for token, score, (start, end) in zip(tokens, scores, times, strict=True):
        if token in MARKS:
            continue
        piece, probability = token.removesuffix("@@"), float(np.exp(score))
        if goes_on:
            begun = words.pop()
            piece, start, probability = begun.text + piece, begun.start, min(begun.probability, probability)
        words.append(RecognizedWord(start, end, piece, probability))
        goes_on = token.endswith("@@")
    return words


def sentence(words: Sequence[str]) -> str:
    """Words as they are written: no space beside a Chinese character."""
    text = " ".join(words)
    return re.sub(rf"(?<={_HAN.pattern}) | (?={_HAN.pattern})", "", text)


def read_normalisation(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The shift and the scale of a Kaldi nnet1 text file, `am.mvn`.

    Raises:
        FailedPrecondition: It has no such rows.
    """
    text = path.read_text()
    found = [re.search(rf"<{name}>.*?\[([^\]]*)\]", text, re.DOTALL) for name in ("AddShift", "Rescale")]
    if not all(found):
        raise FailedPrecondition(f"{path.name} is no file of AddShift and Rescale")
    shift, scale = (np.array(row[1].split(), np.float32) for row in found if row)
    return shift, scale


def load(model_spec: ModelSpec, settings: SpeechSettings) -> Paraformer:
    """Load `model.onnx`, `am.mvn` and `tokens.json` of the model's folder.

    Options of the spec: `end_tokens` (1), the predictor's bias.

    Raises:
        FailedPrecondition: They are not there.
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
