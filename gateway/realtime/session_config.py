"""The configuration of a live session: OpenAI's options, converted to those of the speech service."""

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from msgspec import UNSET
from polyphony.speech.v1.transcription_pb2 import StreamingConfig, VoiceActivityOptions

from gateway.formats.languages import NAMES
from gateway.realtime import g711
from gateway.schemas.realtime import ALaw, BetaChanges, Changes, Format, MuLaw, Pcm, ServerVad, TranscriptionConfig
from servekit.echo import cut
from servekit.errors import InvalidArgument

SAMPLE_BYTES = 2
# Where the client ends the utterances, a pause only divides what is decoded at once; this is the longest pause.
MANUAL_END_SECONDS = 3.0

_BETA_FORMATS: dict[str, Format] = {"pcm16": Pcm(), "g711_ulaw": MuLaw(), "g711_alaw": ALaw()}
_BETA_NAMES = {Pcm: "pcm16", MuLaw: "g711_ulaw", ALaw: "g711_alaw"}


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """The configuration of one session.

    Attributes:
        transcription: The options of the transcription.
        format: The format of the audio.
        turn_detection: When an utterance ends; None where the client ends it by `commit`.
    """

    transcription: TranscriptionConfig = field(default_factory=lambda: TranscriptionConfig("", "", "", []))
    format: Format = field(default_factory=Pcm)
    turn_detection: ServerVad | None = field(default_factory=ServerVad)

    def changed(self, changes: Changes | BetaChanges) -> "SessionConfig":
        """The configuration with these changes.

        Raises:
            InvalidArgument: The changes ask for an option that is not supported.
        """
        if changes.include:
            raise InvalidArgument(
                "session.include must be empty: log probabilities are not supported", field="session.include"
            )
        named: dict[str, Any] = {}
        if isinstance(changes, BetaChanges):
            if changes.input_audio_format is not UNSET:
                named["format"] = _BETA_FORMATS[changes.input_audio_format]
            named |= {"transcription": changes.input_audio_transcription, "turn_detection": changes.turn_detection}
        elif changes.audio is not UNSET:
            requested = changes.audio.input
            named = {
                "format": requested.format,
                "transcription": requested.transcription,
                "turn_detection": requested.turn_detection,
            }
        named = {name: value for name, value in named.items() if value is not UNSET}
        if "transcription" in named:
            given = msgspec.structs.asdict(named["transcription"])
            given = {name: value for name, value in given.items() if value is not UNSET}
            if (language := given.get("language")) and language not in NAMES:
                raise InvalidArgument(f"no transcription in the language {cut(language)!r}", field="language")
            named["transcription"] = msgspec.structs.replace(self.transcription, **given)
        return replace(self, **named)

    def audio(self) -> dict[str, Any]:
        """The `audio` of a session's state."""
        return {
            "input": {"format": self.format, "transcription": self.transcription, "turn_detection": self.turn_detection}
        }

    def beta_format(self) -> str:
        """The name of the format in the beta."""
        return _BETA_NAMES[type(self.format)]

    @property
    def rate(self) -> int:
        """The sample rate in hertz."""
        return self.format.rate if isinstance(self.format, Pcm) else g711.RATE

    def pcm(self, data: bytes) -> bytes:
        """The samples of a chunk of audio as 16-bit PCM."""
        if isinstance(self.format, Pcm):
            return data
        return g711.to_pcm(data, "mu" if isinstance(self.format, MuLaw) else "a")

    def config(self, model: str) -> StreamingConfig:
        """The configuration of a stream to the speech service."""
        detection = self.turn_detection
        return StreamingConfig(
            model=model,
            language=self.transcription.language or "",
            prompt=self.transcription.prompt or "",
            hotwords=self.transcription.keywords or (),
            sample_rate_hertz=self.rate,
            end_silence_seconds=detection.silence_duration_ms / 1000 if detection else MANUAL_END_SECONDS,
            voice_activity=VoiceActivityOptions(
                threshold=detection.threshold if detection else 0.0,
                padding_seconds=detection.prefix_padding_ms / 1000 if detection else 0.0,
            ),
        )
