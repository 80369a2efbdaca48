"""PP-OCR: a detector finds lines, a classifier turns them upright, a recogniser reads them.

RapidOCR's pre- and postprocessing around networks that run on the array port.
https://github.com/PaddlePaddle/PaddleOCR
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rapidocr import RapidOCR
from rapidocr.ch_ppocr_det.utils import DetPreProcess
from rapidocr.ch_ppocr_rec import TextRecInput
from rapidocr.utils.process_img import apply_vertical_padding, map_boxes_to_original

from servekit.context import CancellationToken
from servekit.errors import ServeError
from servekit.media.images import ImageLimits, decode_image
from servekit.models.backend import TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.backends.triton import TritonBackend
from servekit.models.catalogue import ModelSpec
from services.vision.read_text import Line, Page
from services.vision.settings import VisionSettings

LINES_PER_STEP = 24  # lines that are read between two checks of the cancellation token
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


class PPOcr:
    """A `TextRecognizer`.

    Args:
        folder: Holds `det.onnx`, `cls.onnx` and `rec.onnx`, which also carries the alphabet.
        networks: The engines of the same three.
        limits: On an image.
    """

    def __init__(self, folder: Path, networks: dict[str, TensorBackend], limits: ImageLimits) -> None:
        self.networks = networks
        self._limits = limits
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
        self._read(np.full((64, 64, 3), 255, np.uint8), CancellationToken())

    def close(self) -> None:
        """The schedulers of the networks close them."""

    def prepare(self, request: bytes) -> NDArray[np.uint8]:
        return decode_image(request, self._limits, "image")

    def run(self, items: Sequence[NDArray[np.uint8]], cancellation: CancellationToken) -> Sequence[Page | ServeError]:
        return [self._read(image, cancellation) for image in items]

    def _read(self, image: NDArray[np.uint8], cancellation: CancellationToken) -> Page:
        height, width = image.shape[:2]
        cancellation.raise_if_cancelled()
        boxes, crops = self._detect(np.ascontiguousarray(image[:, :, ::-1]))
        lines: list[Line] = []
        for start in range(0, len(crops), LINES_PER_STEP):
            cancellation.raise_if_cancelled()
            step = slice(start, start + LINES_PER_STEP)
            upright = self._ocr.text_cls(crops[step]).img_list
            read = self._ocr.text_rec(TextRecInput(img=upright, return_word_box=False))
            found = zip(read.txts, read.scores, boxes[step], strict=True)
            lines += [Line(text.strip(), float(score), corners) for text, score, corners in found if text.strip()]
        return Page(tuple(lines), width, height)

    def _detect(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], list[NDArray[np.uint8]]]:
        """Detect lines in a BGR image: their corners, float32 `[lines, 4, 2]` in pixels, and the cropped lines."""
        scaled, done = self._ocr.preprocess_img(image)
        # A very flat image is padded above and below: the detector misses a line that fills the height.
        settings = self._ocr.cfg.Global
        padded, done = apply_vertical_padding(scaled, done, settings.width_height_ratio, settings.min_height)
        found = self._ocr.text_det(padded).boxes
        if found is None:
            return np.zeros((0, 4, 2), np.float32), []
        crops = self._ocr.crop_text_regions(padded, found)
        return map_boxes_to_original(found, done, *image.shape[:2]).astype(np.float32), crops


def load(spec: ModelSpec, settings: VisionSettings) -> PPOcr:
    """Load PP-OCR from its model folder, its networks onto the engine that the settings name."""
    folder = spec.folder(settings.models_dir)
    return PPOcr(folder, {name: _engine(folder, name, spec, settings) for name in NETWORKS}, settings.image_limits)


def _engine(folder: Path, name: str, spec: ModelSpec, settings: VisionSettings) -> TensorBackend:
    if settings.triton_target:
        return TritonBackend(settings.triton_target, f"{spec.id}-{name}")
    # One thread per run: the threads of the scheduler, one per core, call the shared session concurrently.
    return OnnxBackend(folder / f"{name}.onnx", threads=1, provider=settings.provider)
