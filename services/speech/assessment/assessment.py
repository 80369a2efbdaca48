"""The RPC Assess: compares a recording with its reference text."""

import asyncio

from polyphony.speech.v1 import assessment_pb2 as pb

from servekit.errors import InvalidArgument, TooLarge
from servekit.media.scripts import join
from services.speech.assessment.scoring import Assessment, ScoredWord, assess
from services.speech.audio.recording import Recordings
from services.speech.spans import span
from services.speech.transcription import TranscriptionOptions
from services.speech.transcription.transcription import LongFormTranscriber, TranscriptStarted, collect
from services.speech.words import split

VERDICTS = {
    "correct": pb.WORD_VERDICT_CORRECT,
    "substitution": pb.WORD_VERDICT_SUBSTITUTION,
    "omission": pb.WORD_VERDICT_OMISSION,
    "insertion": pb.WORD_VERDICT_INSERTION,
}


class Assessor:
    """Assesses the pronunciation of learners.

    Args:
        recordings: Opens recordings.
        transcription: Transcribes recordings. It is not given the text, which would bias it.
        max_text_characters: The longest reference text.
    """

    def __init__(self, recordings: Recordings, transcription: LongFormTranscriber, max_text_characters: int) -> None:
        self._recordings, self._transcription = recordings, transcription
        self._max_text_characters = max_text_characters

    async def assess(self, request: pb.AssessRequest) -> pb.AssessResponse:
        """Handle one request.

        Raises:
            InvalidArgument: The text has no words, or the model does not support the language.
            TooLarge: The text is too long.
            ServeError: As `Recordings.open` and `LongFormTranscriber.transcribe` say.
        """
        text = request.reference_text
        if len(text) > self._max_text_characters:
            raise TooLarge(
                f"reference_text must have at most {self._max_text_characters} characters, got {len(text)}",
                field="reference_text",
            )
        if not split(text):
            raise InvalidArgument("reference_text must contain words", field="reference_text")
        options = TranscriptionOptions(language=request.language, word_times=True)
        async with self._recordings.open(request.audio, "audio") as recording:
            events = self._transcription.transcribe(recording, options, request.model)
            started, segments, _ = await collect(events)
        said = [word for segment in segments for word in segment.words]
        found = await asyncio.to_thread(assess, text, said)
        return _response(found, started, join(segment.text for segment in segments))


def _response(found: Assessment, started: TranscriptStarted, transcript: str) -> pb.AssessResponse:
    return pb.AssessResponse(
        words=[_word(word) for word in found.words],
        accuracy=found.scores.accuracy,
        fluency=found.scores.fluency,
        completeness=found.scores.completeness,
        overall=found.scores.overall,
        transcript=transcript,
        words_per_minute=found.pace,
        pauses=[span(pause.start, pause.end) for pause in found.pauses],
        language=started.language,
        model=started.model,
    )


def _word(scored: ScoredWord) -> pb.AssessedWord:
    expected, recognized = scored.expected, scored.recognized
    return pb.AssessedWord(
        verdict=VERDICTS[scored.verdict],
        text=expected.text if expected else "",
        recognized_text=recognized.text if recognized else "",
        time=span(recognized.start, recognized.end) if recognized else None,
        confidence=recognized.probability if recognized else 0.0,
    )
