"""`/v1/models`: what callers may ask for."""

from starlette.responses import Response

from gateway.endpoint import Context, Operation
from gateway.responses import json_response
from gateway.schemas.models import ModelAnswer, ModelList
from servekit.catalogue import ModelCard


def _answer(name: str, card: ModelCard) -> ModelAnswer:
    return ModelAnswer(name, 0, card.origin or "polyphony", card.id, card.task, card.title, card.licence)


async def list_models(context: Context) -> Response:
    """Every model that the caller may ask for, aliases too."""
    cards = [card for card in context.parts.models.cards if context.caller.sees(card.id)]
    return json_response(ModelList([_answer(name, card) for card in cards for name in (card.id, *card.aliases)]))


async def get_model(context: Context) -> Response:
    """One model."""
    name = context.request.path_params["model"]
    card = context.parts.models.get(name)
    context.caller.require(card.id)
    return json_response(_answer(name, card))


OPERATIONS = (
    Operation("GET", "/v1/models", list_models, "List the models", answer=ModelList),
    Operation("GET", "/v1/models/{model}", get_model, "Describe a model", answer=ModelAnswer),
)
