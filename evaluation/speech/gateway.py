"""The fleet as any caller of its speech sees it, over HTTP."""

from collections.abc import Sequence
from typing import Any, Literal

from evaluation.gateway import Gateway, at

Mode = Literal["fitted", "full"]


class SpeechGateway(Gateway):
    """One gateway, asked about speech."""

    async def transcript(self, sound: bytes, mode: Mode = "fitted") -> tuple[str, str]:
        """The words of a recording and the language that was detected, in either window of the encoder."""
        fields = {"response_format": "verbose_json", **({"full_window": "true"} if mode == "full" else {})}
        answer = await self.post_file("/v1/audio/transcriptions", sound, fields)
        return str(at(answer, "text")), str(at(answer, "language"))

    async def turns(self, sound: bytes, speakers: int = 0) -> list[tuple[tuple[float, float], str]]:
        """Who speaks when; `speakers` of 0 is to be found out."""
        fields = {"speakers": str(speakers)} if speakers else {}
        answer = await self.post_file("/v1/audio/diarize", sound, fields)
        return [((at(turn, "start"), at(turn, "end")), str(at(turn, "speaker"))) for turn in at(answer, "turns")]

    async def aligned(self, sound: bytes, text: str, language: str) -> list[tuple[float, float]]:
        """When each word of a text is said."""
        answer = await self.post_file("/v1/audio/align", sound, {"text": text, "language": language})
        return [(at(word, "start"), at(word, "end")) for word in at(answer, "words")]

    async def enhanced(self, sound: bytes) -> bytes:
        """A recording without its noise, as a WAV file."""
        files = {"file": ("noisy.flac", sound)}
        response = await self.send("POST", "/v1/audio/enhance", files=files, data={"response_format": "wav"})
        return response.content

    async def voices(self) -> Sequence[dict[str, Any]]:
        """The voices that there are, with the languages they speak."""
        return list(at(await self.ask("GET", "/v1/audio/voices"), "data"))

    async def say(self, text: str, voice: str, model: str) -> bytes:
        """A text in a voice, as a WAV file."""
        body = {"input": text, "voice": voice, "model": model, "response_format": "wav"}
        return (await self.send("POST", "/v1/audio/speech", json=body)).content

    async def fit_sounds(self, name: str, clips: Sequence[tuple[bytes, str]]) -> None:
        """A sound model of clips and their labels; without labels, all are normal."""
        files = [("file", ("clip.wav", sound, "audio/wav")) for sound, _ in clips]
        labels = [label for _, label in clips if label]
        data = {"name": name, **({"labels": labels} if labels else {})}
        await self.ask("POST", "/v1/audio/sound_models", files=files, data=data)

    async def scored(self, name: str, sound: bytes) -> tuple[float, bool]:
        """How unlike normal a recording is, and whether it is anomalous."""
        answer = await self.post_file(f"/v1/audio/sound_models/{name}/score", sound, {})
        return float(at(answer, "score")), bool(at(answer, "anomalous"))

    async def classified(self, name: str, sound: bytes) -> str:
        """The likeliest class of a recording."""
        answer = await self.post_file(f"/v1/audio/sound_models/{name}/classify", sound, {})
        return str(at(answer, "classes", 0, "label"))

    def socket(self, path: str) -> tuple[str, dict[str, str]]:
        """The address of a WebSocket of this gateway, and the headers to open it with."""
        url = self._http.base_url.join(path)
        key = self._http.headers.get("authorization")
        return str(url.copy_with(scheme="wss" if url.scheme == "https" else "ws")), {
            "authorization": key
        } if key else {}

    async def post_file(self, path: str, sound: bytes, fields: dict[str, str]) -> Any:
        """What is answered about a recording."""
        return await self.ask("POST", path, files={"file": ("clip.flac", sound)}, data=fields)
