"""`/v1/audio/diarize`: who speaks when in a recording."""

from polyphony.speech.v1.diarization_pb2 import DiarizeRequest, DiarizeResponse
from starlette.responses import Response

from gateway.field_names import rename_fields
from gateway.formats.speakers import FIELDS, LISTS, REFERENCE_BYTES, diarizing_model, known_speakers
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.intake import audio_form
from gateway.http.responses import json_from_thread
from gateway.schemas.diarization import DiarizationAnswer, DiarizationForm, SpeakerTotal, SpeakerTurnRow


async def diarize(context: HandlerContext) -> Response:
    """Find who speaks when in a recording. A large recording is streamed to the object store while it arrives."""
    state = context.state
    form, audio = await audio_form(context, DiarizationForm, lists=LISTS, field_bytes=REFERENCE_BYTES)
    request = DiarizeRequest(
        audio=audio,
        model=diarizing_model(state.models, form.model, context.caller),
        speakers=form.speakers,
        max_speakers=form.max_speakers,
        known_speakers=await known_speakers(form.known_speaker_names, form.known_speaker_references),
    )
    with rename_fields(audio="file", **FIELDS):
        response = await state.clients.diarization.Diarize(request)
    return await json_from_thread(_answer, response)


def _answer(response: DiarizeResponse) -> DiarizationAnswer:
    return DiarizationAnswer(
        duration=round(response.duration_seconds, 3),
        turns=[
            SpeakerTurnRow(
                round(turn.time.start_seconds, 3),
                round(turn.time.end_seconds, 3),
                turn.speaker,
                round(turn.confidence, 4),
            )
            for turn in response.turns
        ],
        speakers=[SpeakerTotal(speaker.name, round(speaker.seconds, 3)) for speaker in response.speakers],
        model=response.model,
    )


OPERATIONS = (
    Operation(
        "POST",
        "/v1/audio/diarize",
        "createDiarization",
        diarize,
        "Create diarization",
        rpc="polyphony.speech.v1.DiarizationService/Diarize",
        form=DiarizationForm,
        answer=DiarizationAnswer,
    ),
)
