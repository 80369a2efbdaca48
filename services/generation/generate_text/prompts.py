"""From a request to a prompt: every field checked, nothing in it able to pass for the chat template."""

import json
import math
import re
from typing import Any

from polyphony.generation.v1 import generation_pb2 as pb

from servekit.rpc.errors import InvalidArgument, TooLarge
from services.generation.generate_text import Part, Prompt, Role, Turn
from services.generation.settings import GenerationSettings

ROLES: dict[int, Role] = {
    pb.TextMessage.ROLE_SYSTEM: "system",
    pb.TextMessage.ROLE_USER: "user",
    pb.TextMessage.ROLE_ASSISTANT: "assistant",
}
MAX_STOPS = 4
MAX_TEMPERATURE = 2.0
ANY_OBJECT = {"type": "object"}

# Chat templates mark turns with tokens written `<|im_end|>`, and engines read them as such wherever they stand:
# without the space a document could end its turn and speak as the system.
CONTROL_TOKEN = re.compile(r"<(?=\|\w+\|>)")


def read(request: pb.GenerateTextRequest, settings: GenerationSettings) -> Prompt:
    """Check a request and read it.

    Raises:
        InvalidArgument: A field has a value that is never right; it is named.
        TooLarge: The schema exceeds its bounds.
    """
    if len(request.stop) > MAX_STOPS:
        raise InvalidArgument(f"{len(request.stop)} stop strings, at most {MAX_STOPS} are accepted", field="stop")
    for index, stop in enumerate(request.stop):
        if not stop:
            raise InvalidArgument("a stop string is empty", field=f"stop[{index}]")
    return Prompt(
        turns=tuple(_turn(message, f"messages[{index}]") for index, message in enumerate(request.messages)),
        max_tokens=_count(request.max_tokens, "max_tokens"),
        stop=tuple(request.stop),
        temperature=_temperature(request),
        top_p=_top_p(request),
        seed=request.seed if request.HasField("seed") else None,
        schema=_schema(request.format, settings),
    )


def _turn(message: pb.TextMessage, field: str) -> Turn:
    if message.role not in ROLES:
        raise InvalidArgument(f"{field}.role {message.role} is no role", field=f"{field}.role")
    return Turn(
        ROLES[message.role],
        tuple(
            Part(CONTROL_TOKEN.sub("< ", part.text), _count(part.max_tokens, f"{field}.parts[{index}].max_tokens"))
            for index, part in enumerate(message.parts)
        ),
    )


def _count(value: int, field: str) -> int:
    if value < 0:
        raise InvalidArgument(f"{field} is {value}; it has to be 0 or more", field=field)
    return value


def _temperature(request: pb.GenerateTextRequest) -> float | None:
    if not request.HasField("temperature"):
        return None
    value = request.temperature
    if not math.isfinite(value) or not 0 <= value <= MAX_TEMPERATURE:
        raise InvalidArgument(f"temperature is {value:g}; it has to be 0 to 2", field="temperature")
    return value


def _top_p(request: pb.GenerateTextRequest) -> float | None:
    if not request.HasField("top_p"):
        return None
    value = request.top_p
    if not math.isfinite(value) or not 0 < value <= 1:
        raise InvalidArgument(f"top_p is {value:g}; it has to be above 0, up to 1", field="top_p")
    return value


def _schema(form: pb.TextFormat, settings: GenerationSettings) -> dict[str, Any] | None:
    match form.WhichOneof("constraint"):
        case "json_object":
            return ANY_OBJECT
        case "json_schema":
            return parse_schema(form.json_schema, settings.max_schema_bytes, settings.max_schema_depth)
    return None


def parse_schema(text: str, max_bytes: int, max_depth: int) -> dict[str, Any]:
    """Read a JSON Schema within bounds.

    Raises:
        InvalidArgument: It is not a JSON object.
        TooLarge: It is too long or too deep.
    """
    field = "format.json_schema"
    size = len(text.encode())
    if size > max_bytes:
        raise TooLarge(f"the schema is {size} bytes long, at most {max_bytes} are accepted", field=field)
    try:
        schema = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the schema is not JSON: {error}", field=field) from error
    if not isinstance(schema, dict):
        raise InvalidArgument("the schema is not a JSON object", field=field)
    level, depth = [schema], 0
    while level := [child for node in level for child in _children(node)]:
        depth += 1
        if depth > max_depth:
            raise TooLarge(f"the schema is nested deeper than {max_depth} levels", field=field)
    return schema


def _children(node: Any) -> list[Any]:
    match node:
        case dict():
            return list(node.values())
        case list():
            return node
    return []


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
