"""`/v1/audio/assess`: pronunciation assessment of a recording against its reference text."""

from polyphony.speech.v1 import assessment_pb2 as pb
from starlette.responses import Response

from gateway.field_names import rename_fields
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.intake import audio_form
from gateway.http.responses import json_response
from gateway.schemas.assessment import (
    AssessmentAnswer,
    AssessmentForm,
    AssessmentScores,
    AssessmentWord,
    PauseSpan,
    Verdict,
)

VERDICTS: dict[int, Verdict] = {
    pb.WORD_VERDICT_CORRECT: "right",
    pb.WORD_VERDICT_SUBSTITUTION: "wrong",
    pb.WORD_VERDICT_OMISSION: "missing",
    pb.WORD_VERDICT_INSERTION: "inserted",
}
"""The verdicts of the HTTP interface by those of the contract."""


async def assess(context: HandlerContext) -> Response:
    """Compare a recording with its reference text, word by word, and score the pronunciation."""
    state = context.state
    form, audio = await audio_form(context, AssessmentForm)
    request = pb.AssessRequest(
        audio=audio,
        reference_text=form.reference_text,
        language=form.language,
        model=state.models.resolve("transcribe", form.model, context.caller),
    )
    with rename_fields(audio="file"):
        response = await state.clients.assessment.Assess(request)
    return json_response(_answer(response))


def _answer(response: pb.AssessResponse) -> AssessmentAnswer:
    scores = (response.accuracy, response.fluency, response.completeness, response.overall)
    return AssessmentAnswer(
        scores=AssessmentScores(*(round(score, 1) for score in scores)),
        words=[_word(word) for word in response.words],
        transcript=response.transcript,
        words_per_minute=round(response.words_per_minute, 1),
        pauses=[PauseSpan(pause.start_seconds, pause.end_seconds) for pause in response.pauses],
        language=response.language,
        model=response.model,
    )


def _word(word: pb.AssessedWord) -> AssessmentWord:
    timed = word.HasField("time")
    return AssessmentWord(
        VERDICTS[word.verdict],
        word.text,
        word.recognized_text,
        word.time.start_seconds if timed else None,
        word.time.end_seconds if timed else None,
        round(word.confidence, 4),
    )


OPERATIONS = (
    Operation(
        "POST",
        "/v1/audio/assess",
        "createAssessment",
        assess,
        "Create pronunciation assessment",
        rpc="polyphony.speech.v1.AssessmentService/Assess",
        form=AssessmentForm,
        answer=AssessmentAnswer,
    ),
)
