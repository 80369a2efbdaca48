"""`/v1/audio/voices`: the voices of the models, and custom voices."""

from polyphony.speech.v1.voices_pb2 import CreateVoiceRequest, DeleteVoiceRequest, ListVoicesRequest, Voice
from starlette.responses import Response

from gateway.field_names import rename_fields
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.intake import audio_form
from gateway.http.responses import json_response
from gateway.schemas.voices import VoiceAnswer, VoiceDeleted, VoiceForm, VoiceList


async def list_voices(context: HandlerContext) -> Response:
    """List the voices of the models that the caller may use, and the tenant's custom voices."""
    listed = await context.state.clients.voices.ListVoices(ListVoicesRequest())
    return json_response(VoiceList([_answer(voice) for voice in listed.voices if context.caller.sees(voice.model)]))


async def create_voice(context: HandlerContext) -> Response:
    """Create a custom voice from a recording of a consenting speaker."""
    state = context.state
    form, audio = await audio_form(context, VoiceForm)
    if not form.text.strip():  # the service transcribes the recording
        state.models.resolve("transcribe", "", context.caller)
    stated = form.consent.strip()
    agreed = stated.lower() == "true"
    request = CreateVoiceRequest(
        name=form.name,
        reference_audio=audio,
        reference_text=form.text,
        language=form.language,
        model=state.models.resolve_any(("synthesize",), form.model, context.caller),  # by what can clone
        consent=agreed or (bool(stated) and stated.lower() != "false"),
        consent_statement=form.consent_statement if agreed else form.consent_statement or stated,
    )
    with rename_fields(reference_audio="audio_sample", reference_text="text"):
        response = await state.clients.voices.CreateVoice(request)
    return json_response(_answer(response.voice))


async def delete_voice(context: HandlerContext) -> Response:
    """Delete a custom voice and its recording."""
    name = context.request.path_params["name"]
    await context.state.clients.voices.DeleteVoice(DeleteVoiceRequest(name=name))
    return json_response(VoiceDeleted(name))


def _answer(voice: Voice) -> VoiceAnswer:
    made = voice.HasField("create_time")
    created = voice.create_time.seconds if made else 0
    languages = list(voice.languages)
    return VoiceAnswer(voice.name, voice.name, voice.model, languages, created, "audio_sample" if made else "built_in")


OPERATIONS = (
    Operation("GET", "/v1/audio/voices", "listVoices", list_voices, "List voices", answer=VoiceList),
    Operation(
        "POST",
        "/v1/audio/voices",
        "createVoice",
        create_voice,
        "Create voice",
        rpc="polyphony.speech.v1.VoiceService/CreateVoice",
        form=VoiceForm,
        answer=VoiceAnswer,
    ),
    Operation("DELETE", "/v1/audio/voices/{name}", "deleteVoice", delete_voice, "Delete voice", answer=VoiceDeleted),
)
