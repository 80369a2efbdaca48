"""Strange input to the real models: each answers well, or with an error that says what is wrong with the input.

`FUZZ_CASES=50 pytest tests/e2e/test_fuzz.py` draws more than a usual run does.
"""

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from PIL import Image, ImageDraw, ImageFont
from polyphony.generation.v1.generation_pb2 import GenerateTextRequest
from polyphony.generation.v1.generation_pb2_grpc import GenerationServiceStub
from polyphony.retrieval.v1.retrieval_pb2 import EmbedInput, EmbedRequest
from polyphony.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceStub
from polyphony.speech.v1.alignment_pb2 import AlignRequest
from polyphony.speech.v1.alignment_pb2_grpc import AlignmentServiceStub
from polyphony.speech.v1.assessment_pb2 import AssessRequest
from polyphony.speech.v1.assessment_pb2_grpc import AssessmentServiceStub
from polyphony.speech.v1.diarization_pb2 import DiarizeRequest
from polyphony.speech.v1.diarization_pb2_grpc import DiarizationServiceStub
from polyphony.speech.v1.emotion_pb2 import AnalyzeEmotionRequest
from polyphony.speech.v1.emotion_pb2_grpc import EmotionServiceStub
from polyphony.speech.v1.enhancement_pb2 import EnhanceRequest
from polyphony.speech.v1.enhancement_pb2_grpc import EnhancementServiceStub
from polyphony.speech.v1.synthesis_pb2 import SynthesizeRequest
from polyphony.speech.v1.synthesis_pb2_grpc import SynthesisServiceStub
from polyphony.speech.v1.transcription_pb2 import TranscribeRequest
from polyphony.speech.v1.transcription_pb2_grpc import TranscriptionServiceStub
from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart
from polyphony.type.v1.media_pb2 import Media
from polyphony.vision.v1.vision_pb2 import ReadTextRequest
from polyphony.vision.v1.vision_pb2_grpc import VisionServiceStub

from tests.e2e.clips import clip
from tests.e2e.fuzzing import CASES, LANGUAGES, TEXTS, mutated, picture, recording
from tests.unit.servekit.media.test_audio import wav

TYPED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNIMPLEMENTED}
"""The errors that an input may be answered with."""

PEAK_MIB = {"vision": 1400, "speech": 1600, "retrieval": 1200, "generation": 1800}


@contextmanager
def process(fleet, name: str) -> Iterator[grpc.Channel]:
    """A channel to a process, which must be the same one and within its memory at the end."""
    pid = fleet.status()[name]["pid"]
    with grpc.insecure_channel(fleet.address(name, "grpc")) as channel:
        yield channel
    assert fleet.status()[name]["pid"] == pid
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM"))
    assert peak < PEAK_MIB[name], f"{name} took {peak} MiB"


class Answers:
    """The answers that are neither well-formed nor a typed error."""

    def __init__(self) -> None:
        self.wrong: dict[str, str] = {}
        self.right = 0

    def call(self, what: str, call: Callable[[], Message | Iterator[Message]]) -> None:
        """Make a call, and check every number of the answer."""
        try:
            answer = call()
            for message in [answer] if isinstance(answer, Message) else answer:
                assert _is_finite(MessageToDict(message)), message
            self.right += 1
        except grpc.RpcError as error:
            if error.code() not in TYPED:
                self.wrong[what] = f"{error.code()}: {error.details()}"
        except AssertionError as error:
            self.wrong[what] = str(error)[:300]


def _is_finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return value not in ("NaN", "Infinity", "-Infinity") and not (isinstance(value, float) and not math.isfinite(value))


def test_random_and_damaged_images_are_read_or_refused(fleet):
    answers = Answers()
    with process(fleet, "vision") as channel:
        vision = VisionServiceStub(channel)
        for seed in range(8 * CASES):
            random = np.random.default_rng(seed)
            what, data = picture(random)
            if seed % 4 == 3:
                what, data = f"mutated {what}", mutated(data, random)
            request = ReadTextRequest(image=Media(inline=data, mime_type="image/png"))
            answers.call(f"{seed}: {what}", lambda: vision.ReadText(request, timeout=120))  # noqa: B023
    assert answers.wrong == {}
    assert answers.right > 2


def test_images_of_extreme_shapes_are_read(fleet):
    """A picture of 1990 by 1 pixels killed the process, one of 1 by 3000 was answered with an internal error."""
    answers = Answers()
    with process(fleet, "vision") as channel:
        vision = VisionServiceStub(channel)
        for width, height in ((1990, 1), (1, 3000), (3000, 1), (2, 20_000), (20_000, 2), (1, 1), (1990, 6)):
            image = Media(inline=_png(width, height), mime_type="image/png")
            answers.call(f"{width}x{height}", lambda: vision.ReadText(ReadTextRequest(image=image), timeout=120))  # noqa: B023
    assert answers.wrong == {}
    assert answers.right == 7


def test_a_picture_of_49_megapixels_is_read_within_the_memory_limit(fleet):
    image = Image.new("RGB", (7000, 7000), "white")
    ImageDraw.Draw(image).text(
        (500, 3000), "forty-nine megapixels", fill="black", font=ImageFont.load_default(size=300)
    )
    file = io.BytesIO()
    image.save(file, "JPEG")
    with process(fleet, "vision") as channel:
        request = ReadTextRequest(image=Media(inline=file.getvalue(), mime_type="image/jpeg"))
        page = VisionServiceStub(channel).ReadText(request, timeout=120)
    (line,) = page.lines
    assert "megapixels" in line.text
    assert (page.width, page.height) == (7000, 7000)
    assert line.bounding_box.left == pytest.approx(500, abs=250)
    assert line.bounding_box.top == pytest.approx(3050, abs=250)


def test_a_long_strip_of_text_is_read(fleet):
    image = Image.new("RGB", (9000, 60), "white")
    font = ImageFont.load_default(size=40)
    words = [f"word{n:03}" for n in range(50)]
    ImageDraw.Draw(image).text((10, 5), " ".join(words), fill="black", font=font)
    with process(fleet, "vision") as channel:
        request = ReadTextRequest(image=Media(inline=_saved(image), mime_type="image/png"))
        page = VisionServiceStub(channel).ReadText(request, timeout=120)
    read = " ".join(line.text for line in page.lines)
    assert sum(word in read for word in words) > 45
    assert [line.bounding_box.left for line in page.lines] == sorted(line.bounding_box.left for line in page.lines)
    assert page.width == 9000
    assert page.lines[-1].bounding_box.left + page.lines[-1].bounding_box.width > 8000


def test_random_and_damaged_recordings_are_processed_or_refused(fleet):
    answers = Answers()
    with process(fleet, "speech") as channel:
        transcription, diarization = TranscriptionServiceStub(channel), DiarizationServiceStub(channel)
        enhancement, emotion = EnhancementServiceStub(channel), EmotionServiceStub(channel)
        speech = wav((clip("garden")[:24_000] * 32767).astype(np.int16), 16_000)
        for seed in range(8 * CASES):
            random = np.random.default_rng(seed)
            what, data = recording(random)
            if seed % 4 == 3:
                what, data = "mutated speech", mutated(speech, random)
            audio = Media(inline=data, mime_type="audio/wav")
            language = LANGUAGES[random.integers(len(LANGUAGES))]
            calls = {
                f"transcribe {language!r:.20}": lambda: transcription.Transcribe(
                    TranscribeRequest(audio=audio, language=language, word_times=bool(seed % 2)),  # noqa: B023
                    timeout=120,
                ),
                "diarize": lambda: diarization.Diarize(DiarizeRequest(audio=audio), timeout=120),  # noqa: B023
                "enhance": lambda: enhancement.Enhance(
                    EnhanceRequest(audio=audio, loudness_lufs=-20, trim_silence=True),  # noqa: B023
                    timeout=120,
                ),
                f"emotion {language!r:.20}": lambda: emotion.AnalyzeEmotion(
                    AnalyzeEmotionRequest(audio=audio, language=language),  # noqa: B023
                    timeout=120,
                ),
            }
            for name, call in calls.items():
                answers.call(f"{seed}: {name} {what}", call)
    assert answers.wrong == {}
    assert answers.right > 4


@pytest.mark.parametrize("kind", ["embed", "synthesize", "align", "generate"])
def test_random_texts_are_processed_or_refused(fleet, kind):
    answers = Answers()
    name = {"embed": "retrieval", "generate": "generation"}.get(kind, "speech")
    audio = Media(inline=wav((clip("garden")[:24_000] * 32767).astype(np.int16), 16_000), mime_type="audio/wav")
    with process(fleet, name) as channel:
        retrieval, synthesis = RetrievalServiceStub(channel), SynthesisServiceStub(channel)
        alignment, assessment = AlignmentServiceStub(channel), AssessmentServiceStub(channel)
        generation = GenerationServiceStub(channel)
        for what, text in TEXTS.items():
            match kind:
                case "embed":
                    request = EmbedRequest(inputs=[EmbedInput(text=text), EmbedInput(text=text * 20)])
                    answers.call(what, lambda: retrieval.Embed(request, timeout=120))  # noqa: B023
                case "synthesize":
                    short = SynthesizeRequest(text=text[: 60 * CASES], speed=4)
                    answers.call(what, lambda: synthesis.Synthesize(short, timeout=120))  # noqa: B023
                case "align":
                    align = AlignRequest(audio=audio, text=text, language="en")
                    answers.call(what, lambda: alignment.Align(align, timeout=120))  # noqa: B023
                    assess = AssessRequest(audio=audio, reference_text=text, language="en")
                    answers.call(f"assess {what}", lambda: assessment.Assess(assess, timeout=120))  # noqa: B023
                case "generate":
                    parts = [ContentPart(text=text[: 60 * CASES])]
                    message = ChatMessage(role=ChatMessage.ROLE_USER, parts=parts)
                    prompt = GenerateTextRequest(messages=[message], max_tokens=1)
                    answers.call(what, lambda: generation.GenerateText(prompt, timeout=120))  # noqa: B023
    assert answers.wrong == {}


def _png(width: int, height: int) -> bytes:
    return _saved(Image.new("RGB", (width, height), "white"))


def _saved(image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
