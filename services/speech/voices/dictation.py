"""Dictation: the text of something short that was read in already."""

from contextlib import aclosing
from io import BytesIO

from servekit.audio import AudioLimits
from servekit.writing import join
from services.speech.audio.recording import Recording
from services.speech.ports.transcriber import Instructions, Segment
from services.speech.transcription.transcription import Started, Transcription
from services.speech.voices.references import Spoken


class Dictation:
    """Writes down what is spoken.

    Args:
        transcription: What hears.
    """

    def __init__(self, transcription: Transcription) -> None:
        self._transcription = transcription

    async def write_down(self, spoken: Spoken, language: str) -> tuple[str, str]:
        """What is said, and in which language, stated or detected.

        Raises:
            NotFound: No transcriber is loaded.
            Overloaded: There is no time for it now.
        """
        recording = Recording(BytesIO(spoken.recording), AudioLimits(), "reference_audio", spoken.seconds)
        said: list[str] = []
        async with aclosing(self._transcription.hear(recording, Instructions(language=language))) as events:
            async for event in events:
                if isinstance(event, Started):
                    language = event.language
                elif isinstance(event, Segment):
                    said.append(event.text)
        return join(said), language
