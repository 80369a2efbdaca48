"""What is said and who says it: a recording written down and its speakers told apart, both at once."""

import asyncio
from collections.abc import Iterator, Sequence

from polyphony.speech.v1.diarization_pb2 import DiarizeRequest, DiarizeResponse, SpeakerTurn
from polyphony.speech.v1.transcription_pb2 import TranscribeRequest

from gateway.clients import Clients
from gateway.formats.transcripts import DiarizedSegment, DiarizedTranscript, Transcript, gather
from gateway.streams import completed
from servekit.media.scripts import join

NOBODY = "A"  # who speaks where words were heard and no speaker anywhere


async def diarized_transcript(
    clients: Clients, transcribe: TranscribeRequest, diarize: DiarizeRequest
) -> DiarizedTranscript:
    """Write down a recording and tell its speakers apart, at once; each word is of the turn that it lies in most.

    Raises:
        ServeError: The first that either met.
    """
    transcribe.word_times = True
    try:
        async with asyncio.TaskGroup() as group:
            hearing = group.create_task(
                gather(completed(clients.transcription.Transcribe(transcribe), "transcription"))
            )
            telling = group.create_task(_tell(clients, diarize))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    heard, told = hearing.result(), telling.result()
    return await asyncio.to_thread(_joined, heard, told.turns)


async def _tell(clients: Clients, request: DiarizeRequest) -> DiarizeResponse:
    return await clients.diarization.Diarize(request)


def _joined(heard: Transcript, turns: Sequence[SpeakerTurn]) -> DiarizedTranscript:
    return DiarizedTranscript(heard.text, heard.seconds, list(_segments(heard, turns)))


def _segments(heard: Transcript, turns: Sequence[SpeakerTurn]) -> Iterator[DiarizedSegment]:
    """The segments of a transcript, parted where the speaker changes."""
    speakers = _Speakers(turns)
    for segment in heard.segments:
        run: list[str] = []
        speaker, start, end = "", 0.0, 0.0
        for piece in segment.words or (segment,):
            who = speakers.of(piece.time.start_seconds, piece.time.end_seconds)
            if run and who != speaker:
                yield DiarizedSegment(start, end, speaker, join(run))
                run = []
            start = start if run else piece.time.start_seconds
            speaker, end = who, piece.time.end_seconds
            run.append(piece.text)
        yield DiarizedSegment(start, end, speaker, join(run))


class _Speakers:
    """Who speaks when; asked for one moment after another.

    Args:
        turns: By their beginnings.
    """

    def __init__(self, turns: Sequence[SpeakerTurn]) -> None:
        self._turns = turns
        self._past = 0  # turns that are over
        self._last: list[SpeakerTurn] = []  # of these the one that ended last

    def of(self, start: float, end: float) -> str:
        """Who speaks most from `start` to `end`, or the nearest where nobody does."""
        turns = self._turns
        while self._past < len(turns) and (over := turns[self._past]).time.end_seconds <= start:
            self._last = [max((*self._last, over), key=lambda turn: turn.time.end_seconds)]
            self._past += 1
        near = [*self._last]
        for turn in turns[self._past :]:
            near.append(turn)
            if turn.time.start_seconds >= end:
                break
        shared = [min(end, turn.time.end_seconds) - max(start, turn.time.start_seconds) for turn in near]
        return near[max(range(len(near)), key=shared.__getitem__)].speaker if near else NOBODY
