"""A diarized transcript: transcription and diarization in parallel, joined word by word."""

import asyncio
from collections.abc import Iterator, Sequence

from polyphony.speech.v1.diarization_pb2 import DiarizeRequest, DiarizeResponse, SpeakerTurn
from polyphony.speech.v1.transcription_pb2 import TranscribeRequest

from gateway.clients import Clients
from gateway.formats.transcripts import DiarizedSegment, DiarizedTranscript, Transcript, gather
from gateway.streams import completed
from servekit.media.scripts import join

DEFAULT_SPEAKER = "A"  # of words where the diarization found no speaker


async def diarized_transcript(
    clients: Clients, transcribe: TranscribeRequest, diarize: DiarizeRequest
) -> DiarizedTranscript:
    """Transcribe and diarize a recording in parallel; each word goes to the turn that it overlaps most.

    Raises:
        ServeError: The first error of either call.
    """
    transcribe.word_times = True
    try:
        async with asyncio.TaskGroup() as group:
            transcribing = group.create_task(
                gather(completed(clients.transcription.Transcribe(transcribe), "transcription"))
            )
            diarizing = group.create_task(_diarize(clients, diarize))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    transcript, diarization = transcribing.result(), diarizing.result()
    return await asyncio.to_thread(_joined, transcript, diarization.turns)


async def _diarize(clients: Clients, request: DiarizeRequest) -> DiarizeResponse:
    return await clients.diarization.Diarize(request)


def _joined(transcript: Transcript, turns: Sequence[SpeakerTurn]) -> DiarizedTranscript:
    return DiarizedTranscript(transcript.text, transcript.seconds, list(_segments(transcript, turns)))


def _segments(transcript: Transcript, turns: Sequence[SpeakerTurn]) -> Iterator[DiarizedSegment]:
    """The segments of a transcript, divided where the speaker changes."""
    speakers = _Speakers(turns)
    for segment in transcript.segments:
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
    """The speakers of a recording, looked up in the order of time.

    Args:
        turns: The turns, in the order of their starts.
    """

    def __init__(self, turns: Sequence[SpeakerTurn]) -> None:
        self._turns = turns
        self._past = 0  # turns that are over
        self._last: list[SpeakerTurn] = []  # of these the one that ended last

    def of(self, start: float, end: float) -> str:
        """The speaker who speaks most from `start` to `end`, or the nearest if none does."""
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
        return near[max(range(len(near)), key=shared.__getitem__)].speaker if near else DEFAULT_SPEAKER
