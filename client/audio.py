"""The gateway's audio: transcription, diarization, alignment, enhancement, synthesis and sound models."""

from collections.abc import Sequence
from typing import Any

from client.connection import Connection
from client.errors import value_at

Span = tuple[float, float]
SOUND_MODELS = "/v1/audio/sound_models"


class AudioClient(Connection):
    """The calls about audio."""

    async def transcribe(self, recording: bytes, filename: str = "clip.flac", **fields: Any) -> Any:
        """The transcript of a recording, in the `response_format` of the fields."""
        return await self._post("/v1/audio/transcriptions", recording, filename, **fields)

    async def diarize(self, recording: bytes, filename: str = "clip.flac", **fields: Any) -> Any:
        """Who speaks when in a recording."""
        return await self._post("/v1/audio/diarize", recording, filename, **fields)

    async def turns(self, recording: bytes, speakers: int = 0) -> list[tuple[Span, str]]:
        """The turns of the speakers, whose number is `speakers`; 0 if it is not known."""
        answer = await self.diarize(recording, **({"speakers": str(speakers)} if speakers else {}))
        return [(_span(turn), str(value_at(turn, "speaker"))) for turn in value_at(answer, "turns")]

    async def align(self, recording: bytes, text: str, language: str) -> list[Span]:
        """The start and end of each word of a text in a recording, in seconds."""
        answer = await self._post("/v1/audio/align", recording, "clip.flac", text=text, language=language)
        return [_span(word) for word in value_at(answer, "words")]

    async def enhance(self, recording: bytes) -> bytes:
        """A recording without its noise, as a WAV file."""
        files = {"file": ("clip.flac", recording)}
        response = await self.send("POST", "/v1/audio/enhance", files=files, data={"response_format": "wav"})
        return response.content

    async def voices(self) -> Sequence[dict[str, Any]]:
        """The voices, with their languages."""
        return list(value_at(await self.json("GET", "/v1/audio/voices"), "data"))

    async def speak(self, text: str, voice: str = "default", model: str = "", audio_format: str = "wav") -> bytes:
        """A text as speech; the default voice and model where none is given."""
        body = {"input": text, "voice": voice, "model": model, "response_format": audio_format}
        return (await self.send("POST", "/v1/audio/speech", json=body)).content

    async def train_sound_model(self, name: str, clips: Sequence[tuple[bytes, str]]) -> None:
        """Train a sound model on clips and their labels; without labels, all clips are of the normal sound."""
        files = [("file", ("clip.wav", clip, "audio/wav")) for clip, _ in clips]
        labels = [label for _, label in clips if label]
        data = {"name": name, **({"labels": labels} if labels else {})}
        await self.json("POST", SOUND_MODELS, files=files, data=data)

    async def detect_anomaly(self, name: str, recording: bytes) -> tuple[float, bool]:
        """The anomaly score of a recording, and whether it exceeds the model's threshold."""
        answer = await self._post(f"{SOUND_MODELS}/{name}/score", recording, "clip.flac")
        return float(value_at(answer, "score")), bool(value_at(answer, "anomalous"))

    async def classify_sound(self, name: str, recording: bytes) -> str:
        """The most likely class of a recording."""
        answer = await self._post(f"{SOUND_MODELS}/{name}/classify", recording, "clip.flac")
        return str(value_at(answer, "classes", 0, "label"))

    async def _post(self, path: str, recording: bytes, filename: str, **fields: Any) -> Any:
        return await self.json("POST", path, files={"file": (filename, recording)}, data=fields)


def _span(row: Any) -> Span:
    return value_at(row, "start"), value_at(row, "end")
