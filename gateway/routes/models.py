"""`/v1/models`: the models that requests may name."""

from starlette.responses import Response

from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.responses import json_response
from gateway.schemas.models import ModelAnswer, ModelList
from servekit.models.catalogue import ModelSpec


def _answer(name: str, spec: ModelSpec) -> ModelAnswer:
    return ModelAnswer(name, 0, spec.origin or "polyphony", spec.id, spec.task, spec.title, spec.licence)


async def list_models(context: HandlerContext) -> Response:
    """List the models that the caller may use, their aliases included."""
    specs = [spec for spec in context.state.models.specs if context.caller.sees(spec.id)]
    return json_response(ModelList([_answer(name, spec) for spec in specs for name in (spec.id, *spec.aliases)]))


async def get_model(context: HandlerContext) -> Response:
    """Retrieve a model by its id or an alias."""
    name = context.request.path_params["model"]
    spec = context.state.models.get(name)
    context.caller.require(spec.id)
    return json_response(_answer(name, spec))


OPERATIONS = (
    Operation("GET", "/v1/models", "listModels", list_models, "List models", answer=ModelList),
    Operation("GET", "/v1/models/{model}", "retrieveModel", get_model, "Retrieve model", answer=ModelAnswer),
)
