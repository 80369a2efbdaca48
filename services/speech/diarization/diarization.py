"""Diarization: who speaks when in a recording, by name."""

from collections.abc import Iterator, Sequence
from itertools import count
from string import ascii_uppercase

import numpy as np
from numpy.typing import NDArray
from polyphony.speech.v1.diarization_pb2 import DiarizeRequest, DiarizeResponse, KnownSpeaker, Speaker, SpeakerTurn

from servekit.rpc.bounds import within
from servekit.rpc.errors import InvalidArgument, NotFound, TooLarge, Unimplemented
from services.speech.audio.recording import Recordings
from services.speech.diarization import Turn
from services.speech.diarization.clustering import matched
from services.speech.diarization.listeners import Listener
from services.speech.spans import span

LEAST_REFERENCE_SECONDS = 1.0
MOST_REFERENCE_SECONDS = 30.0
MOST_NAME_CHARACTERS = 80


class Diarization:
    """Tells who speaks when.

    Args:
        recordings: Opens recordings.
        listeners: The models, the default first.
        most: How many speakers are looked for at most, and how many may be known.
    """

    def __init__(self, recordings: Recordings, listeners: Sequence[Listener], most: int) -> None:
        self._recordings, self._most = recordings, most
        self._listeners = {listener.model: listener for listener in listeners}

    async def diarize(self, request: DiarizeRequest) -> DiarizeResponse:
        """Answer one request.

        Raises:
            Unimplemented: The profile has no model for it.
            NotFound: No such model is loaded.
            InvalidArgument: A number of speakers or a known speaker will not do.
            ServeError: As `Recordings.open` and `Listener.hear` say.
        """
        listener = self._listener(request.model)
        speakers = within(request.speakers, 0, self._most, "speakers")
        most = within(request.max_speakers, 0, self._most, "max_speakers") or self._most
        self._check_names(request.known_speakers)
        known = [
            await self._voice(listener, speaker, f"known_speakers[{number}].audio")
            for number, speaker in enumerate(request.known_speakers)
        ]
        async with self._recordings.open(request.audio, "audio") as recording:
            heard = await listener.hear(recording, speakers, most)
        turns = heard.people.turns
        found = matched(heard.people.voices, known, listener.known_voice)
        given = [speaker.name for speaker in request.known_speakers]
        names = _names(turns, {person: given[who] for person, who in found.items()}, given)
        seconds = dict.fromkeys(names, 0.0)
        for turn in turns:
            seconds[turn.person] += turn.end - turn.start
        return DiarizeResponse(
            turns=[_message(turn, names[turn.person]) for turn in turns],
            speakers=[Speaker(name=name, seconds=seconds[person]) for person, name in names.items()],
            duration_seconds=heard.seconds,
            model=listener.model,
        )

    def _listener(self, model: str) -> Listener:
        if not self._listeners:
            raise Unimplemented("no model of this profile tells speakers apart", field="model")
        name = model or next(iter(self._listeners))
        if name not in self._listeners:
            loaded = ", ".join(self._listeners)
            raise NotFound(
                f"no model {name[:80]!r} that tells speakers apart is loaded; there is {loaded}", field="model"
            )
        return self._listeners[name]

    def _check_names(self, speakers: Sequence[KnownSpeaker]) -> None:
        if len(speakers) > self._most:
            raise TooLarge(f"{len(speakers)} known speakers, at most {self._most}", field="known_speakers")
        names = [speaker.name for speaker in speakers]
        for number, name in enumerate(names):
            field = f"known_speakers[{number}].name"
            if not name.strip() or len(name) > MOST_NAME_CHARACTERS:
                raise InvalidArgument(f"a name has 1 to {MOST_NAME_CHARACTERS} characters", field=field)
            if name in names[:number]:
                raise InvalidArgument(f"there are two speakers of the name {name!r}", field=field)

    async def _voice(self, listener: Listener, speaker: KnownSpeaker, field: str) -> NDArray[np.float32]:
        """A known speaker's voice.

        Raises:
            InvalidArgument: There is too little speech in the recording.
            TooLarge: It is too long.
        """
        async with self._recordings.open(speaker.audio, field) as recording:
            heard = await listener.hear(recording, 1, 1, MOST_REFERENCE_SECONDS)
        speech = sum(turn.end - turn.start for turn in heard.people.turns)
        if speech < LEAST_REFERENCE_SECONDS:
            raise InvalidArgument(
                f"somebody speaks for {speech:.1f} s here; {LEAST_REFERENCE_SECONDS:g} to {MOST_REFERENCE_SECONDS:g} s "
                "tell a voice",
                field=field,
            )
        voice: NDArray[np.float32] = heard.people.voices[0]
        return voice


def _names(turns: Sequence[Turn], known: dict[int, str], given: Sequence[str]) -> dict[int, str]:
    """The name of every person who speaks, by their first turns; no stranger gets a `given` one, heard or not."""
    letters = (letter for letter in _letters() if letter not in given)
    people = dict.fromkeys(turn.person for turn in turns)
    return {person: known.get(person) or next(letters) for person in people}


def _letters() -> Iterator[str]:
    """A to Z, A2 to Z2, ..."""
    for round_number in count(1):
        yield from (letter if round_number == 1 else f"{letter}{round_number}" for letter in ascii_uppercase)


def _message(turn: Turn, name: str) -> SpeakerTurn:
    time = span(turn.start, turn.end)
    return SpeakerTurn(time=time, speaker=name, confidence=turn.confidence)
