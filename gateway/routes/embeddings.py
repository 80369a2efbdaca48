"""`/v1/embeddings`: texts as vectors."""

import asyncio
import base64
from typing import cast

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray
from polyphony.retrieval.v1.retrieval_pb2 import EmbedInput, EmbedRequest
from polyphony.type.v1.embedding_pb2 import Embedding
from starlette.responses import Response

from gateway.field_names import rename_fields
from gateway.http.bodies import read_json
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.responses import json_response
from gateway.schemas.embeddings import EmbeddingRow, Embeddings, EmbeddingsRequest, EmbeddingsUsage
from servekit.errors import Internal, InvalidArgument, TooLarge

MAX_INPUTS = 2048
ROWS_AT_ONCE = 64  # that are encoded in 5 ms


async def create_embeddings(context: HandlerContext) -> Response:
    """Create the embeddings of one or several texts."""
    state = context.state
    body = await read_json(context.body, EmbeddingsRequest, state.settings.max_json_body_bytes)
    texts = _texts(body)
    model = state.models.resolve("embed", body.model, context.caller)
    request = EmbedRequest(inputs=[EmbedInput(text=text) for text in texts], model=model)
    with rename_fields(inputs="input[]"):
        response = await state.clients.retrieval.Embed(request)
    if response.embeddings.dtype != Embedding.DTYPE_FLOAT32:
        raise Internal(f"the embeddings must be float32, got dtype {response.embeddings.dtype}")
    rows = np.frombuffer(response.embeddings.data, "<f4").reshape(tuple(response.embeddings.shape))
    if body.dimensions is not None and body.dimensions != rows.shape[1]:
        raise InvalidArgument(
            f"dimensions must be {rows.shape[1]} for {response.model}, got {body.dimensions}", field="dimensions"
        )
    usage = EmbeddingsUsage(response.tokens, response.tokens)
    data = await _encoded(rows, is_base64=body.encoding_format == "base64")
    return json_response(Embeddings(data, response.model, usage))


async def _encoded(rows: NDArray[np.float32], *, is_base64: bool) -> list[EmbeddingRow]:
    """The rows as JSON. A million numbers take 100 ms, so that the event loop does other work in between."""
    encoded: list[Raw] = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        for index, row in enumerate(rows[start : start + ROWS_AT_ONCE], start):
            embedding = base64.b64encode(row.tobytes()).decode() if is_base64 else row.tolist()
            encoded.append(Raw(msgspec.json.encode(EmbeddingRow(index, embedding))))
        if len(rows) > ROWS_AT_ONCE:
            await asyncio.sleep(0)
    return cast("list[EmbeddingRow]", encoded)


def _texts(body: EmbeddingsRequest) -> list[str]:
    """The inputs as texts.

    Raises:
        InvalidArgument: A text is empty, or an input is tokens.
        TooLarge: There are too many.
    """
    inputs = [body.input] if isinstance(body.input, str) else body.input
    if len(inputs) > MAX_INPUTS:
        raise TooLarge(f"input must have at most {MAX_INPUTS} texts, got {len(inputs)}", field="input")
    texts = [text for text in inputs if isinstance(text, str)]
    if len(texts) < len(inputs):
        raise InvalidArgument("input must be text: token ids depend on the model's tokenizer", field="input")
    if not texts:
        raise InvalidArgument("input must not be empty", field="input")
    for index, text in enumerate(texts):
        if not text:
            raise InvalidArgument(f"input[{index}] must not be empty", field=f"input[{index}]")
    return texts


OPERATIONS = (
    Operation(
        "POST",
        "/v1/embeddings",
        "createEmbedding",
        create_embeddings,
        "Create embeddings",
        body=EmbeddingsRequest,
        answer=Embeddings,
    ),
)
