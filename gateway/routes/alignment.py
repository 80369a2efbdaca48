"""`/v1/audio/align`: forced alignment of a text with its recording, also as subtitles."""

import asyncio
from itertools import groupby

from polyphony.speech.v1.alignment_pb2 import AlignedWord, AlignRequest, AlignResponse
from starlette.responses import PlainTextResponse, Response

from gateway.field_names import rename_fields
from gateway.formats.subtitles import MEDIA_TYPES, Timed, subtitles
from gateway.formats.transcripts import rounded_span
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.intake import audio_form
from gateway.http.responses import json_from_thread
from gateway.schemas.alignment import AlignedWordRow, AlignmentAnswer, AlignmentForm

TEXT_BYTES = 1 << 20  # more than the service takes, in any script
TASKS = ("align", "transcribe")  # what finds words, the better first; the service chooses by the language


async def align(context: HandlerContext) -> Response:
    """Find the time of each word of a text in its recording, as JSON or as subtitles."""
    state = context.state
    form, audio = await audio_form(context, AlignmentForm, field_bytes=TEXT_BYTES)
    model = state.models.resolve_any(TASKS, form.model, context.caller)
    is_transcriber = bool(model) and state.models.get(model).task == "transcribe"
    transcriber = model if is_transcriber else state.models.first("transcribe", context.caller)
    request = AlignRequest(audio=audio, text=form.text, language=form.language, model=model, transcriber=transcriber)
    with rename_fields(audio="file"):
        response = await state.clients.alignment.Align(request)
    if form.response_format in MEDIA_TYPES:
        text = await asyncio.to_thread(_subtitles, response, form.response_format)
        return PlainTextResponse(text, media_type=MEDIA_TYPES[form.response_format])
    return await json_from_thread(_answer, response)


def _answer(response: AlignResponse) -> AlignmentAnswer:
    words = [
        AlignedWordRow(word.text, *rounded_span(word.time), round(word.confidence, 4), word.line)
        for word in response.words
    ]
    return AlignmentAnswer(words, response.duration_seconds, response.language, response.model)


def _subtitles(response: AlignResponse, form: str) -> str:
    lines = [list(map(_timed, words)) for _, words in groupby(response.words, key=lambda word: word.line)]
    return subtitles(lines, form)


def _timed(word: AlignedWord) -> Timed:
    return Timed(word.time.start_seconds, word.time.end_seconds, word.text)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/audio/align",
        "createAlignment",
        align,
        "Create forced alignment",
        rpc="polyphony.speech.v1.AlignmentService/Align",
        form=AlignmentForm,
        answer=AlignmentAnswer,
    ),
)
