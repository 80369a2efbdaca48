"""Dictation: the text of something short that was read in already."""

from io import BytesIO

from servekit.media.audio import AudioLimits
from servekit.media.scripts import join
from services.speech.audio.recording import Recording
from services.speech.transcription import TranscriptionOptions
from services.speech.transcription.transcription import LongFormTranscriber, collect
from services.speech.voices.references import ReferenceAudio


class Dictation:
    """Writes down what is spoken.

    Args:
        transcription: What hears.
    """

    def __init__(self, transcription: LongFormTranscriber) -> None:
        self._transcription = transcription

    async def write_down(self, spoken: ReferenceAudio, language: str) -> tuple[str, str]:
        """What is said, and in which language, stated or detected.

        Raises:
            NotFound: No transcriber is loaded.
            Overloaded: There is no time for it now.
        """
        recording = Recording(BytesIO(spoken.recording), AudioLimits(), "reference_audio", spoken.seconds)
        started, segments, _ = await collect(
            self._transcription.transcribe(recording, TranscriptionOptions(language=language))
        )
        return join(segment.text for segment in segments), started.language
