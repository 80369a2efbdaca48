"""PP-OCR: a detector finds lines, a classifier turns them upright, a recogniser reads them.

RapidOCR's pre- and postprocessing around networks that run on the array port.
https://github.com/PaddlePaddle/PaddleOCR
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rapidocr import RapidOCR
from rapidocr.ch_ppocr_det.utils import DetPreProcess
from rapidocr.ch_ppocr_rec import TextRecInput
from rapidocr.utils.process_img import apply_vertical_padding, get_rotate_crop_image

from servekit.context import CancellationToken
from servekit.errors import ServeError
from servekit.media.images import DecodedImage, ImageLimits, decode_reduced
from servekit.models.backend import TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.backends.triton import TritonBackend
from servekit.models.catalogue import ModelSpec
from services.vision.read_text import Line, Page
from services.vision.read_text.models.limited_network import PixelLimitedNetwork
from services.vision.read_text.models.pixel_budget import PixelBudget
from services.vision.read_text.models.tiles import MIN_TEXT_SIDE, resized, scale, tiles
from services.vision.settings import VisionSettings

LINES_PER_STEP = 6  # lines that are read between two checks of the cancellation token
MAX_STEP_WIDTH = 4096  # of these lines together, in pixels; the recogniser takes 19 kB for each
LINE_HEIGHT = 48  # of a line as the recogniser sees it, in pixels
LONG_SIDES = 2  # bound of the enlarged longer side, as a multiple of the detector's shortest side
NETWORKS = {"det": "text_det", "cls": "text_cls", "rec": "text_rec"}


class _Session:
    """Adapts a `TensorBackend` to the call that RapidOCR makes."""

    def __init__(self, backend: TensorBackend) -> None:
        self._backend = backend
        self._input, self._output = backend.inputs[0].name, backend.outputs[0].name

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.generic]:
        return self._backend.infer({self._input: images})[self._output]


class Enlargement(DetPreProcess):
    """Enlarges an image until its shorter side is long enough for the detector, within a bound of the longer side.

    Without that bound a strip of 384 by 63 pixels becomes one of 4,486 by 736: nine times the work at lower accuracy.
    """

    def resize(self, img: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = img.shape[:2]
        enough = self.limit_side_len / min(height, width)
        bound = self.limit_side_len * LONG_SIDES / max(height, width)
        scale = max(1.0, min(enough, bound))
        size = [max(32, round(side * scale / 32) * 32) for side in (width, height)]  # the network halves it five times
        return np.asarray(cv2.resize(img, size), np.uint8)

    def __call__(self, img: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the input of the detector, float32 `[1, 3, height, width]`; the original computes it in float64."""
        pixels = self.resize(img).astype(np.float32)
        pixels *= self.scale
        pixels -= self.mean.astype(np.float32)
        pixels /= self.std.astype(np.float32)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


class PPOcr:
    """A `TextRecognizer`.

    Args:
        folder: Holds `det.onnx`, `cls.onnx` and `rec.onnx`, which also carries the alphabet.
        networks: The engines of the same three.
        limits: The limits of an image.
        max_concurrent_megapixels: The most megapixels in which threads detect lines at the same time.
    """

    def __init__(
        self,
        folder: Path,
        networks: dict[str, TensorBackend],
        limits: ImageLimits,
        max_concurrent_megapixels: float = 8.0,
    ) -> None:
        self._limits = limits
        self._max_pixels = max_concurrent_megapixels * 1e6
        bounds = {"det": self._max_pixels, "cls": MAX_STEP_WIDTH * LINE_HEIGHT, "rec": MAX_STEP_WIDTH * LINE_HEIGHT}
        self.networks: dict[str, TensorBackend] = {
            name: PixelLimitedNetwork(network, bounds[name]) for name, network in networks.items()
        }
        self._budget = PixelBudget(self._max_pixels)
        paths = {f"{name.title()}.model_path": str(folder / f"{name}.onnx") for name in NETWORKS}
        threads = {"EngineConfig.onnxruntime.intra_op_num_threads": 1}
        ocr: Any = RapidOCR(params={"Global.log_level": "error", **threads, **paths})
        ocr._load_det_model()
        ocr._load_cls_model()
        ocr._load_rec_model()
        detector = ocr.text_det
        enlargement = Enlargement(detector.limit_side_len, detector.limit_type, detector.mean, detector.std)
        detector.get_preprocess = lambda: enlargement
        self._ocr = ocr
        for name, stage in NETWORKS.items():
            getattr(self._ocr, stage).session = _Session(networks[name])

    def warm(self) -> None:
        self._read(DecodedImage(np.full((64, 64, 3), 255, np.uint8), 64, 64), CancellationToken())

    def close(self) -> None:
        """The schedulers of the networks close them."""

    def prepare(self, request: bytes) -> DecodedImage:
        def factor(width: int, height: int) -> int:
            return int(1 / scale(width, height, self._max_pixels, "image"))

        return decode_reduced(request, self._limits, "image", factor)

    def run(self, items: Sequence[DecodedImage], cancellation: CancellationToken) -> Sequence[Page | ServeError]:
        return [self._read(image, cancellation) for image in items]

    def _read(self, image: DecodedImage, cancellation: CancellationToken) -> Page:
        width, height = image.width, image.height
        if min(width, height) < MIN_TEXT_SIDE:
            return Page((), width, height)
        scaled = resized(image.pixels, scale(width, height, self._max_pixels, "image") * width / image.pixels.shape[1])
        ratio = np.array([width / scaled.shape[1], height / scaled.shape[0]])
        lines: list[Line] = []
        for left, top, tile in tiles(scaled):
            cancellation.raise_if_cancelled()
            padded, boxes, padding = self._detect(np.ascontiguousarray(tile[:, :, ::-1]))
            found: dict[int, Line] = {}
            for step in _steps(boxes):
                cancellation.raise_if_cancelled()
                upright = self._ocr.text_cls([get_rotate_crop_image(padded, boxes[at].copy()) for at in step]).img_list
                read = self._ocr.text_rec(TextRecInput(img=upright, return_word_box=False))
                for at, text, score in zip(step, read.txts, read.scores, strict=True):
                    within = np.clip(boxes[at] - (0, padding), 0, tile.shape[1::-1])
                    corners = ratio * np.add(within, (left, top))
                    if text.strip():
                        found[at] = Line(text.strip(), float(score), corners.astype(np.float32))
            lines += [found[at] for at in sorted(found)]
        return Page(tuple(lines), width, height)

    def _detect(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32], int]:
        """Detect lines in a BGR image.

        Returns:
            The image, padded above and below where it is very flat: the detector misses a line that fills the height;
            the corners of the lines in it, float32 `[lines, 4, 2]` in pixels; the height of the padding above.
        """
        settings = self._ocr.cfg.Global
        padded, done = apply_vertical_padding(image, {}, settings.width_height_ratio, settings.min_height)
        with self._budget.hold(padded.shape[0] * padded.shape[1]):
            found = self._ocr.text_det(padded).boxes
        boxes = np.zeros((0, 4, 2), np.float32) if found is None else found
        return padded, boxes, done["padding_1"]["top"]


def _steps(boxes: NDArray[np.float32]) -> Iterator[list[int]]:
    """Group lines that are read in one step: narrow ones first, as each is padded to the width of the widest."""
    sides = np.linalg.norm(boxes - np.roll(boxes, 1, axis=1), axis=2)  # left, top, right, bottom
    across = np.maximum(sides[:, [0, 1]], sides[:, [2, 3]]) + 1
    widths = LINE_HEIGHT * across.max(axis=1) / across.min(axis=1)
    step: list[int] = []
    for at in map(int, np.argsort(widths, kind="stable")):
        if step and (len(step) == LINES_PER_STEP or widths[at] * (len(step) + 1) > MAX_STEP_WIDTH):
            yield step
            step = []
        step.append(at)
    if step:
        yield step


def load(spec: ModelSpec, settings: VisionSettings) -> PPOcr:
    """Load PP-OCR from its model folder, its networks onto the engine that the settings name."""
    folder = spec.folder(settings.models_dir)
    return PPOcr(
        folder,
        {name: _engine(folder, name, spec, settings) for name in NETWORKS},
        settings.image_limits,
        settings.max_concurrent_megapixels,
    )


def _engine(folder: Path, name: str, spec: ModelSpec, settings: VisionSettings) -> TensorBackend:
    if settings.triton_target:
        return TritonBackend(settings.triton_target, f"{spec.id}-{name}")
    # One thread per run: the threads of the scheduler, one per core, call the shared session concurrently.
    return OnnxBackend(folder / f"{name}.onnx", threads=1, provider=settings.provider)
