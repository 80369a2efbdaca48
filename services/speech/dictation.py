"""Dictation: the text of something short that was read in already."""

from contextlib import aclosing

from servekit.models import Models
from servekit.streaming import StreamLane
from services.speech.models import Instructions, Segment, Started, Transcriber
from services.speech.references import Spoken


class Dictation:
    """Writes down what is spoken.

    Args:
        transcribers: The lanes that hear; without any, nothing is written.
    """

    def __init__(self, transcribers: Models[StreamLane[Transcriber]]) -> None:
        self._transcribers = transcribers

    async def write_down(self, spoken: Spoken, language: str) -> tuple[str, str]:
        """What is said, and in which language, stated or detected.

        Raises:
            Overloaded: There is no time for it now.
        """
        if not list(self._transcribers):
            return "", language
        instructions = Instructions(language=language)
        said: list[str] = []
        lane = self._transcribers.get("")
        async with aclosing(
            lane.stream(lambda model, flag: model.transcribe(spoken.samples, instructions, flag), spoken.seconds)
        ) as events:
            async for event in events:
                if isinstance(event, Started):
                    language = event.language
                elif isinstance(event, Segment):
                    said.append(event.text.strip())
        return " ".join(said), language
