"""`/v1/audio/enhance`: noise reduction, loudness normalization and removal of silence."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from msgspec import UNSET, UnsetType
from polyphony.speech.v1.enhancement_pb2 import EnhanceRequest, EnhanceResponse
from starlette.responses import Response

from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.intake import audio_form
from gateway.http.responses import ByteStream, json_response
from gateway.schemas.enhancement import EnhanceForm, EnhancementAnswer, KeptSpan
from gateway.schemas.speech import MIME_TYPES
from gateway.streams import audio_chunks, completed
from servekit.media.objects import TRANSIENT_SECONDS


async def enhance(context: HandlerContext) -> Response:
    """Reduce the noise of a recording, normalize its loudness and remove its silence. The audio is streamed.

    The measurements are known at the end of the stream, where HTTP has no place for them: `answer=json` gives them, and
    the audio as a file that expires after an hour.
    """
    state = context.state
    form, audio = await audio_form(context, EnhanceForm)
    request = EnhanceRequest(
        audio=audio,
        model=state.models.resolve_any(("enhance",), form.model, context.caller),  # by what the machine can run
        keep_noise=form.keep_noise,
        loudness_lufs=form.loudness_lufs,
        trim_silence=form.trim_silence,
        mime_type=MIME_TYPES[form.response_format],
    )
    events = completed(state.clients.enhancement.Enhance(request), "enhancement", audio="file")
    if form.answer == "audio":
        return ByteStream(audio_chunks(events), request.mime_type)
    return json_response(await _kept(context, events, request.mime_type, f"enhanced.{form.response_format}"))


async def _kept(
    context: HandlerContext, events: AsyncGenerator[EnhanceResponse], mime_type: str, filename: str
) -> EnhancementAnswer:
    """Store the audio as a file of the tenant while it arrives."""
    last: dict[str, EnhanceResponse] = {}

    async def recorded() -> AsyncGenerator[EnhanceResponse]:
        async with aclosing(events):
            async for event in events:
                last[event.WhichOneof("event") or ""] = event
                yield event

    state, tenant = context.state, context.caller.tenant
    received = await state.files.receive(tenant, audio_chunks(recorded()), filename, mime_type)
    expires_at = received.created_at + int(TRANSIENT_SECONDS)
    try:
        await state.records.finish_upload(tenant, replace(received, expires_at=expires_at))
    except BaseException:
        await state.files.abandon(tenant, received)
        raise
    started, finished = last["started"].started, last["finished"].finished
    return EnhancementAnswer(
        file_id=received.id,
        bytes=received.size,
        expires_at=expires_at,
        model=started.model,
        sample_rate=started.sample_rate_hertz,
        duration_before=finished.duration_before_seconds,
        duration_after=finished.duration_after_seconds,
        snr_before=_measured(finished, "snr_before_db"),
        snr_after=_measured(finished, "snr_after_db"),
        loudness_before=_measured(finished, "loudness_before_lufs"),
        loudness_after=_measured(finished, "loudness_after_lufs"),
        kept=[KeptSpan(span.start_seconds, span.end_seconds) for span in finished.kept],
    )


def _measured(finished: Any, figure: str) -> float | UnsetType:
    return round(getattr(finished, figure), 2) if finished.HasField(figure) else UNSET


OPERATIONS = (
    Operation(
        "POST",
        "/v1/audio/enhance",
        "createEnhancement",
        enhance,
        "Create enhanced audio",
        rpc="polyphony.speech.v1.EnhancementService/Enhance",
        form=EnhanceForm,
        answer=EnhancementAnswer,
        answer_type="audio/*",
    ),
)
