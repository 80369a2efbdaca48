"""Synthesis on a vLLM-Omni server by its `/v1/audio/speech`, with built-in or cloned voices.

The API has the fields of OpenAI, and `language`, `task_type`, `ref_audio` and `ref_text`. Raw samples are streamed as
they are decoded.
"""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servekit.chat.vllm_server import VllmServer
from servekit.context import CancellationToken
from servekit.errors import FailedPrecondition
from servekit.media.audio import pcm_samples
from servekit.models.catalogue import ModelSpec
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Speaker, VoiceRow

# The names of languages in the API of the server.
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
    """A synthesizer with a vLLM-Omni server as its engine. Closing a stream cancels it on the server.

    Args:
        url: The base URL of the server.
        served_as: The name of the model on the server.
        voices: The built-in voices.
        cloned_languages: The languages of voice cloning; empty if the checkpoint does not support it.
        sample_rate: The sample rate of the audio in hertz.
    """

    speeds = (1.0, 1.0)  # the server does not support a speed when it streams
    max_characters = 400

    def __init__(
        self,
        url: str,
        served_as: str,
        *,
        voices: tuple[VoiceRow, ...],
        cloned_languages: tuple[str, ...],
        sample_rate: int,
    ) -> None:
        self._server = VllmServer(url, "vLLM-Omni", refusal="the model cannot synthesize this text", field="text")
        self._served_as = served_as
        self.voices = voices
        self.cloned_languages = cloned_languages
        self.sample_rate = sample_rate

    def speak(
        self,
        piece: str,
        speaker: Speaker,
        speed: float,  # noqa: ARG002
        cancellation: CancellationToken,
    ) -> Iterator[NDArray[np.float32]]:
        with self._server.stream("/v1/audio/speech", self._request(piece, speaker)) as response:
            rest = b""
            for data in response.iter_bytes():
                cancellation.raise_if_cancelled()
                whole = len(rest + data) // 2 * 2
                samples, rest = (rest + data)[:whole], (rest + data)[whole:]
                if samples:
                    yield pcm_samples(samples)

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
        self._server.warm()

    def close(self) -> None:
        self._server.close()


def load(spec: ModelSpec, settings: SpeechSettings) -> VllmOmni:
    """Create the client of the server `settings.vllm_omni_url`.

    Options of the spec: `languages`, `served_as`, `voices`, `clones`, `sample_rate` (24000).

    Raises:
        FailedPrecondition: No server is configured.
    """
    if not settings.vllm_omni_url:
        raise FailedPrecondition(f"{spec.id} runs on vLLM-Omni: vllm_omni_url must be set", field="vllm_omni_url")
    languages = tuple(spec.options["languages"])
    return VllmOmni(
        settings.vllm_omni_url,
        str(spec.options.get("served_as", spec.id)),
        voices=tuple(VoiceRow(name, languages) for name in spec.options.get("voices", ())),
        cloned_languages=languages if spec.options.get("clones") else (),
        sample_rate=int(spec.options.get("sample_rate", 24_000)),
    )
