"""Voices on a vLLM-Omni server, reached over its `/v1/audio/speech`: its own, or one that a recording shows it.

The wire is that of vLLM-Omni's speech API: OpenAI's fields, and `language`, `task_type`, `ref_audio` and `ref_text`
beside them. Raw samples are streamed as they are decoded.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from servekit.call import Flag
from servekit.catalogue import ModelCard
from servekit.errors import EngineGone, FailedPrecondition, Internal, InvalidArgument, Overloaded
from services.speech.ports.synthesizer import Speaker, VoiceRow
from services.speech.settings import SpeechSettings

STEP_SECONDS = 60.0  # the longest silence of a server that lives: a voice is learnt behind a full batch
CONNECT_SECONDS = 2.0

# What the server calls languages.
_LANGUAGES = {
    "en": "English",
    "zh": "Chinese",
    "ja": "Japanese",
    "ko": "Korean",
    "de": "German",
    "fr": "French",
    "ru": "Russian",
    "pt": "Portuguese",
    "es": "Spanish",
    "it": "Italian",
}


class VllmOmni:
    """A `Synthesizer` whose engine is a vLLM-Omni server. Closing a stream makes the server stop speaking it.

    Args:
        client: To the server, its base URL set.
        served_as: The name under which the server serves the model.
        voices: The model's own.
        cloned_languages: What it speaks with a reference; nothing where the checkpoint cannot.
        sample_rate: Of what it speaks, in Hz.
    """

    speeds = (1.0, 1.0)  # the server streams at its own pace only
    max_characters = 400

    def __init__(
        self,
        client: httpx.Client,
        served_as: str,
        *,
        voices: tuple[VoiceRow, ...],
        cloned_languages: tuple[str, ...],
        sample_rate: int,
    ) -> None:
        self._client = client
        self._served_as = served_as
        self.voices = voices
        self.cloned_languages = cloned_languages
        self.sample_rate = sample_rate

    def speak(self, piece: str, speaker: Speaker, speed: float, flag: Flag) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        body = self._request(piece, speaker)
        with _reaching(), self._client.stream("POST", "/v1/audio/speech", json=body) as response:
            if response.is_error:
                response.read()
            _check(response)
            rest = b""
            for data in response.iter_bytes():
                flag.check()
                whole = len(rest + data) // 2 * 2
                samples, rest = (rest + data)[:whole], (rest + data)[whole:]
                if samples:
                    yield np.frombuffer(samples, "<i2").astype(np.float32) / np.float32(32768)

    def _request(self, piece: str, speaker: Speaker) -> dict[str, Any]:
        body = {
            "model": self._served_as,
            "input": piece,
            "language": _LANGUAGES.get(speaker.language, "Auto"),
            "response_format": "pcm",
            "stream_format": "audio",
        }
        if speaker.reference is None:
            return body | {"voice": speaker.voice}
        recording = base64.b64encode(speaker.reference.recording).decode()
        body |= {"task_type": "Base", "ref_audio": f"data:audio/wav;base64,{recording}"}
        if speaker.reference.text:
            return body | {"ref_text": speaker.reference.text}
        return body | {"x_vector_only_mode": True}

    def warm(self) -> None:
        with _reaching():
            _check(self._client.get("/health"))

    def close(self) -> None:
        self._client.close()


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise EngineGone("vLLM-Omni does not answer", retry_after=1.0) from error


def _check(response: httpx.Response) -> None:
    """What a refusal of the server's is to the caller."""
    if not response.is_error:
        return
    match response.status_code:
        case 400 | 422:
            raise InvalidArgument(f"the model cannot speak this: {response.text[:500]}", field="text")
        case 429:
            raise Overloaded("vLLM-Omni is full", retry_after=1.0)
        case 502 | 503 | 504:
            raise EngineGone("vLLM-Omni is not ready", retry_after=1.0)
    raise Internal(f"vLLM-Omni answered {response.status_code}: {response.text[:500]}")


def load(card: ModelCard, settings: SpeechSettings) -> VllmOmni:
    """Reach the server of `settings.vllm_omni`; the card's options say what it serves.

    Raises:
        FailedPrecondition: No server is set.
    """
    if not settings.vllm_omni:
        raise FailedPrecondition(f"{card.id} runs on vLLM-Omni: say where it is", field="vllm_omni")
    languages = tuple(card.options["languages"])
    return VllmOmni(
        httpx.Client(base_url=settings.vllm_omni, timeout=httpx.Timeout(STEP_SECONDS, connect=CONNECT_SECONDS)),
        str(card.options.get("served_as", card.id)),
        voices=tuple(VoiceRow(name, languages) for name in card.options.get("voices", ())),
        cloned_languages=languages if card.options.get("clones") else (),
        sample_rate=int(card.options.get("sample_rate", 24_000)),
    )
