"""`/v1/audio/emotion`: the emotion of a voice and the sentiment of its words."""

from collections.abc import Iterable
from typing import Any

from polyphony.speech.v1.emotion_pb2 import (
    AnalyzeEmotionRequest,
    AnalyzeEmotionResponse,
    EmotionBasis,
    EmotionSegment,
    LabelProbability,
    Sentiment,
)
from starlette.responses import Response

from gateway.auth import Caller
from gateway.field_names import rename_fields
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.intake import audio_form
from gateway.http.responses import json_response
from gateway.models import ModelDirectory
from gateway.schemas.emotion import (
    EmotionAnswer,
    EmotionForm,
    EmotionSpan,
    Likelihood,
    ProsodyAnswer,
    SentimentAnswer,
)

ACOUSTIC = "recognize_emotion"


async def analyze(context: HandlerContext) -> Response:
    """Recognize the emotion of a recording, segment by segment, and name the basis of the result."""
    state = context.state
    form, audio = await audio_form(context, EmotionForm)
    model = _model(state.models, form.model, context.caller)
    with rename_fields(audio="file"):
        response = await state.clients.emotion.AnalyzeEmotion(
            AnalyzeEmotionRequest(audio=audio, language=form.language, model=model)
        )
    return json_response(_answer(response))


def _model(models: ModelDirectory, name: str, caller: Caller) -> str:
    """The id of the acoustic model; empty where the profile has none, and words and prosody decide.

    Raises:
        NotFound: The caller may not use it, the transcriber or a sentiment classifier.
        ServeError: As `ModelDirectory.resolve`.
    """
    models.resolve("transcribe", "", caller)
    models.require("classify_sentiment", caller)
    return models.resolve(ACOUSTIC, name, caller) if name or models.has(ACOUSTIC) else ""


def _answer(response: AnalyzeEmotionResponse) -> EmotionAnswer:
    basis: Any = EmotionBasis.Name(response.basis).removeprefix("EMOTION_BASIS_").lower()
    return EmotionAnswer(
        basis=basis,
        emotions=_likelihoods(response.emotions),
        sentiment=_sentiment(response.sentiment),
        segments=[_span(segment) for segment in response.segments],
        language=response.language,
        model=response.model,
    )


def _span(segment: EmotionSegment) -> EmotionSpan:
    sound = segment.prosody
    return EmotionSpan(
        segment.time.start_seconds,
        segment.time.end_seconds,
        segment.text,
        _likelihoods(segment.emotions),
        _sentiment(segment.sentiment),
        ProsodyAnswer(
            round(sound.pitch_hertz, 1),
            round(sound.pitch_range_semitones, 1),
            round(sound.level_db, 1),
            round(sound.words_per_second, 2),
        ),
    )


def _sentiment(sentiment: Sentiment) -> SentimentAnswer:
    return SentimentAnswer(round(sentiment.score, 4), _likelihoods(sentiment.labels), sentiment.basis)


def _likelihoods(labels: Iterable[LabelProbability]) -> list[Likelihood]:
    return [Likelihood(one.label, round(one.probability, 4)) for one in labels]


OPERATIONS = (
    Operation(
        "POST",
        "/v1/audio/emotion",
        "createEmotionAnalysis",
        analyze,
        "Create emotion analysis",
        rpc="polyphony.speech.v1.EmotionService/AnalyzeEmotion",
        form=EmotionForm,
        answer=EmotionAnswer,
    ),
)
