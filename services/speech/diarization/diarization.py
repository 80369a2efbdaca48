"""Speaker diarization: the RPC, with names for the speakers."""

from collections.abc import Iterator, Sequence
from itertools import count
from string import ascii_uppercase

import numpy as np
from numpy.typing import NDArray
from polyphony.speech.v1.diarization_pb2 import DiarizeRequest, DiarizeResponse, KnownSpeaker, Speaker, SpeakerTurn

from servekit.echo import MAX_NAME, cut
from servekit.errors import InvalidArgument, NotFound, TooLarge, Unimplemented
from servekit.rpc.bounds import within
from services.speech.audio.recording import Recordings
from services.speech.diarization import DiarizedTurn
from services.speech.diarization.clustering import match_speakers
from services.speech.diarization.diarizers import RecordingDiarizer
from services.speech.spans import span

MIN_REFERENCE_SECONDS = 1.0
MAX_REFERENCE_SECONDS = 30.0
MAX_NAME_CHARACTERS = 80


class SpeakerDiarization:
    """Diarizes recordings and names the speakers.

    Args:
        recordings: Opens recordings.
        diarizers: The diarizers, the default first.
        max_speakers: How many speakers are looked for at most, and how many may be known.
    """

    def __init__(self, recordings: Recordings, diarizers: Sequence[RecordingDiarizer], max_speakers: int) -> None:
        self._recordings, self._max_speakers = recordings, max_speakers
        self._diarizers = {diarizer.model: diarizer for diarizer in diarizers}

    async def diarize(self, request: DiarizeRequest) -> DiarizeResponse:
        """Handle one request.

        Raises:
            Unimplemented: The profile has no model for the task.
            NotFound: No such model is loaded.
            InvalidArgument: The number of speakers or a known speaker is invalid.
            ServeError: See `Recordings.open` and `RecordingDiarizer.diarize`.
        """
        diarizer = self._diarizer(request.model)
        speakers = within(request.speakers, 0, self._max_speakers, "speakers")
        max_speakers = within(request.max_speakers, 0, self._max_speakers, "max_speakers") or self._max_speakers
        self._check_names(request.known_speakers)
        known = [
            await self._voice(diarizer, speaker, f"known_speakers[{number}].audio")
            for number, speaker in enumerate(request.known_speakers)
        ]
        async with self._recordings.open(request.audio, "audio") as recording:
            diarized = await diarizer.diarize(recording, speakers, max_speakers)
        turns = diarized.result.turns
        found = match_speakers(diarized.result.embeddings, known, diarizer.verification_threshold)
        given = [speaker.name for speaker in request.known_speakers]
        names = _names(turns, {speaker: given[who] for speaker, who in found.items()}, given)
        seconds = dict.fromkeys(names, 0.0)
        for turn in turns:
            seconds[turn.speaker] += turn.end - turn.start
        return DiarizeResponse(
            turns=[_message(turn, names[turn.speaker]) for turn in turns],
            speakers=[Speaker(name=name, seconds=seconds[speaker]) for speaker, name in names.items()],
            duration_seconds=diarized.seconds,
            model=diarizer.model,
        )

    def _diarizer(self, model: str) -> RecordingDiarizer:
        if not self._diarizers:
            raise Unimplemented("this profile has no diarization model", field="model")
        name = model or next(iter(self._diarizers))
        if len(name) > MAX_NAME or name not in self._diarizers:
            loaded = ", ".join(self._diarizers)
            raise NotFound(f"no diarization model {cut(name)!r} is loaded; available: {loaded}", field="model")
        return self._diarizers[name]

    def _check_names(self, speakers: Sequence[KnownSpeaker]) -> None:
        if len(speakers) > self._max_speakers:
            raise TooLarge(
                f"at most {self._max_speakers} known speakers are accepted, got {len(speakers)}", field="known_speakers"
            )
        names = [speaker.name for speaker in speakers]
        for number, name in enumerate(names):
            field = f"known_speakers[{number}].name"
            if not name.strip() or len(name) > MAX_NAME_CHARACTERS:
                raise InvalidArgument(
                    f"a name must have 1 to {MAX_NAME_CHARACTERS} characters, got {len(name)}", field=field
                )
            if name in names[:number]:
                raise InvalidArgument(f"speaker names must be unique, got {cut(name)!r} twice", field=field)

    async def _voice(self, diarizer: RecordingDiarizer, speaker: KnownSpeaker, field: str) -> NDArray[np.float32]:
        """The embedding of a known speaker.

        Raises:
            InvalidArgument: The recording has too little speech.
            TooLarge: The recording is too long.
        """
        async with self._recordings.open(speaker.audio, field) as recording:
            diarized = await diarizer.diarize(recording, 1, 1, MAX_REFERENCE_SECONDS)
        speech = sum(turn.end - turn.start for turn in diarized.result.turns)
        if speech < MIN_REFERENCE_SECONDS:
            raise InvalidArgument(
                f"the recording must have {MIN_REFERENCE_SECONDS:g} to {MAX_REFERENCE_SECONDS:g} s of speech, "
                f"got {speech:.1f} s",
                field=field,
            )
        voice: NDArray[np.float32] = diarized.result.embeddings[0]
        return voice


def _names(turns: Sequence[DiarizedTurn], known: dict[int, str], given: Sequence[str]) -> dict[int, str]:
    """The name of each speaker, by their first turns; unknown speakers get letters that are not in `given`."""
    letters = (letter for letter in _letters() if letter not in given)
    speakers = dict.fromkeys(turn.speaker for turn in turns)
    return {speaker: known.get(speaker) or next(letters) for speaker in speakers}


def _letters() -> Iterator[str]:
    """A to Z, A2 to Z2, ..."""
    for round_number in count(1):
        yield from (letter if round_number == 1 else f"{letter}{round_number}" for letter in ascii_uppercase)


def _message(turn: DiarizedTurn, name: str) -> SpeakerTurn:
    time = span(turn.start, turn.end)
    return SpeakerTurn(time=time, speaker=name, confidence=turn.confidence)
