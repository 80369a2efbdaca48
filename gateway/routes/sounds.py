"""`/v1/audio/sound_models`: anomaly detection and classification of sounds, trained on clips."""

from polyphony.speech.v1 import anomaly_pb2 as pb
from polyphony.type.v1.media_pb2 import Media
from starlette.responses import Response

from gateway.field_names import rename_fields
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.forms import Part, read_form
from gateway.http.intake import audio_form
from gateway.http.responses import json_response
from gateway.schemas import sounds as schemas
from servekit.errors import InvalidArgument

TASK = "detect_anomaly"
MAX_PARTS = 1024  # a file and a label for each clip
CLIP_FIELDS = {"clips": "files[]", "clips.label": "labels[]"}


async def fit(context: HandlerContext) -> Response:
    """Train a sound model on files: all normal, or with a label each. An existing name gets a new version."""
    state = context.state
    state.models.resolve(TASK, "", context.caller)
    files: list[Media] = []

    async def store(part: Part) -> list[Media]:
        files.append(await state.media_resolver.store(part, part.mime_type, context.caller.tenant))
        return files

    form, recordings = await read_form(
        context,
        state.settings.max_audio_bytes,
        schemas.FitForm,
        store,
        lists=("labels",),
        max_parts=MAX_PARTS,
    )
    if form.labels and len(form.labels) != len(recordings):
        raise InvalidArgument(
            f"labels must be none or one for each of {len(recordings)} files, got {len(form.labels)}",
            field="labels",
        )
    labels = form.labels or [""] * len(recordings)
    clips = [pb.TrainingClip(audio=recording, label=label) for recording, label in zip(recordings, labels, strict=True)]
    request = pb.TrainAnomalyDetectorRequest(name=form.name, clips=clips, false_alarm_rate=form.false_alarm_rate)
    with rename_fields(**CLIP_FIELDS):
        answer = await state.clients.anomaly.TrainAnomalyDetector(request)
    return json_response(_model(answer.anomaly_detector))


async def list_models(context: HandlerContext) -> Response:
    """List the sound models, each in its last version."""
    answer = await context.state.clients.anomaly.ListAnomalyDetectors(pb.ListAnomalyDetectorsRequest())
    return json_response(schemas.SoundModelList([_model(model) for model in answer.anomaly_detectors]))


async def delete(context: HandlerContext) -> Response:
    """Delete all versions of a sound model."""
    name = context.request.path_params["name"]
    await context.state.clients.anomaly.DeleteAnomalyDetector(pb.DeleteAnomalyDetectorRequest(name=name))
    return json_response(schemas.DeletedModel(name))


async def score(context: HandlerContext) -> Response:
    """Score how anomalous a recording is, window by window."""
    name, form, audio = await _asked(context)
    with rename_fields(audio="file"):
        request = pb.DetectAnomalyRequest(name=name, version=form.version, audio=audio)
        answer = await context.state.clients.anomaly.DetectAnomaly(request)
    spans = [schemas.ScoredSpan(row.time.start_seconds, row.time.end_seconds, row.score) for row in answer.segments]
    return json_response(schemas.SoundScore(answer.score, answer.threshold, answer.anomalous, spans, answer.version))


async def classify(context: HandlerContext) -> Response:
    """Classify a recording by a model's classes, window by window."""
    name, form, audio = await _asked(context)
    with rename_fields(audio="file"):
        request = pb.ClassifySoundRequest(name=name, version=form.version, audio=audio)
        answer = await context.state.clients.anomaly.ClassifySound(request)
    classes = [schemas.SoundClass(row.label, row.probability) for row in answer.classes]
    spans = [
        schemas.ClassifiedSpan(
            row.time.start_seconds, row.time.end_seconds, row.sound_class.label, row.sound_class.probability
        )
        for row in answer.segments
    ]
    return json_response(schemas.SoundClassification(classes, spans, answer.version))


async def _asked(context: HandlerContext) -> tuple[str, schemas.SoundForm, Media]:
    context.state.models.resolve(TASK, "", context.caller)
    form, audio = await audio_form(context, schemas.SoundForm)
    return context.request.path_params["name"], form, audio


def _model(model: pb.AnomalyDetector) -> schemas.SoundModel:
    answer = schemas.SoundModel(
        name=model.name,
        version=model.version,
        created_at=model.create_time.seconds,
        clips=model.clip_count,
        seconds=round(model.duration_seconds, 3),
        classes=list(model.classes),
    )
    if not model.classes:
        answer.threshold = model.threshold
    if model.HasField("macro_f1"):
        answer.macro_f1 = model.macro_f1
    return answer


OPERATIONS = (
    Operation(
        "POST",
        "/v1/audio/sound_models",
        "createSoundModel",
        fit,
        "Train sound model",
        rpc="polyphony.speech.v1.AnomalyService/TrainAnomalyDetector",
        form=schemas.FitForm,
        answer=schemas.SoundModel,
    ),
    Operation(
        "GET",
        "/v1/audio/sound_models",
        "listSoundModels",
        list_models,
        "List sound models",
        answer=schemas.SoundModelList,
    ),
    Operation(
        "DELETE",
        "/v1/audio/sound_models/{name}",
        "deleteSoundModel",
        delete,
        "Delete sound model",
        answer=schemas.DeletedModel,
    ),
    Operation(
        "POST",
        "/v1/audio/sound_models/{name}/score",
        "detectAnomaly",
        score,
        "Detect anomalous sound",
        rpc="polyphony.speech.v1.AnomalyService/DetectAnomaly",
        form=schemas.SoundForm,
        answer=schemas.SoundScore,
    ),
    Operation(
        "POST",
        "/v1/audio/sound_models/{name}/classify",
        "classifySound",
        classify,
        "Classify sound",
        rpc="polyphony.speech.v1.AnomalyService/ClassifySound",
        form=schemas.SoundForm,
        answer=schemas.SoundClassification,
    ),
)
