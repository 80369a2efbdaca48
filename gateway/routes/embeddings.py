"""`/v1/embeddings`: texts as vectors."""

import base64

import numpy as np
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


async def create_embeddings(context: HandlerContext) -> Response:
    """Create the embeddings of one or several texts."""
    state = context.state
    body = await read_json(context.request, EmbeddingsRequest, state.settings.max_json_body_bytes)
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
    data = [
        EmbeddingRow(
            index, base64.b64encode(row.tobytes()).decode() if body.encoding_format == "base64" else row.tolist()
        )
        for index, row in enumerate(rows)
    ]
    return json_response(Embeddings(data, response.model, EmbeddingsUsage(response.tokens, response.tokens)))


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
