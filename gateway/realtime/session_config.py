"""How a live session listens: what its client asks for in OpenAI's words, said in those of the speech service."""

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from msgspec import UNSET
from polyphony.speech.v1.transcription_pb2 import StreamingConfig, VoiceActivityOptions

from gateway.formats.languages import NAMES
from gateway.realtime import g711
from gateway.schemas.realtime import ALaw, BetaChanges, Changes, Format, MuLaw, Pcm, ServerVad, Writing
from servekit.rpc.errors import InvalidArgument

SAMPLE_BYTES = 2
# Where the client ends the phrases, a pause only parts what is decoded at once; this is the longest there can be.
BY_HAND_SECONDS = 3.0

_BETA_FORMATS: dict[str, Format] = {"pcm16": Pcm(), "g711_ulaw": MuLaw(), "g711_alaw": ALaw()}
_BETA_NAMES = {Pcm: "pcm16", MuLaw: "g711_ulaw", ALaw: "g711_alaw"}


@dataclass(frozen=True, slots=True)
class Listening:
    """What one session wishes.

    Attributes:
        writing: How what is said is written down.
        format: What its sound is.
        turn_detection: When a phrase ends by itself; None leaves it to the client.
    """

    writing: Writing = field(default_factory=lambda: Writing("", "", "", []))
    format: Format = field(default_factory=Pcm)
    turn_detection: ServerVad | None = field(default_factory=ServerVad)

    def changed(self, changes: Changes | BetaChanges) -> "Listening":
        """The same, but for what the changes name.

        Raises:
            InvalidArgument: They wish for what is not there.
        """
        if changes.include:
            raise InvalidArgument("nothing can be included: there are no log probabilities", field="session.include")
        named: dict[str, Any] = {}
        if isinstance(changes, BetaChanges):
            if changes.input_audio_format is not UNSET:
                named["format"] = _BETA_FORMATS[changes.input_audio_format]
            named |= {"writing": changes.input_audio_transcription, "turn_detection": changes.turn_detection}
        elif changes.audio is not UNSET:
            wishes = changes.audio.input
            named = {
                "format": wishes.format,
                "writing": wishes.transcription,
                "turn_detection": wishes.turn_detection,
            }
        named = {name: value for name, value in named.items() if value is not UNSET}
        if "writing" in named:
            given = msgspec.structs.asdict(named["writing"])
            given = {name: value for name, value in given.items() if value is not UNSET}
            if (language := given.get("language")) and language not in NAMES:
                raise InvalidArgument(f"the language {language} is not heard", field="language")
            named["writing"] = msgspec.structs.replace(self.writing, **given)
        return replace(self, **named)

    def audio(self) -> dict[str, Any]:
        """As `audio` of a session."""
        return {"input": {"format": self.format, "transcription": self.writing, "turn_detection": self.turn_detection}}

    def beta_format(self) -> str:
        """The format's name in the beta."""
        return _BETA_NAMES[type(self.format)]

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self.format.rate if isinstance(self.format, Pcm) else g711.RATE

    def pcm(self, data: bytes) -> bytes:
        """Its sound as 16-bit PCM."""
        if isinstance(self.format, Pcm):
            return data
        return g711.to_pcm(data, "mu" if isinstance(self.format, MuLaw) else "a")

    def config(self, model: str) -> StreamingConfig:
        """As the speech service takes it."""
        detection = self.turn_detection
        return StreamingConfig(
            model=model,
            language=self.writing.language or "",
            prompt=self.writing.prompt or "",
            hotwords=self.writing.keywords or (),
            sample_rate_hertz=self.rate,
            end_silence_seconds=detection.silence_duration_ms / 1000 if detection else BY_HAND_SECONDS,
            voice_activity=VoiceActivityOptions(
                threshold=detection.threshold if detection else 0.0,
                padding_seconds=detection.prefix_padding_ms / 1000 if detection else 0.0,
            ),
        )
