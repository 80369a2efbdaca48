"""Embed: the vectors of the texts of one request."""

import asyncio
from collections.abc import Sequence

import numpy as np
from polyphony.retrieval.v1 import retrieval_pb2 as pb

from servekit.errors import InvalidArgument, ServeError, TooLarge
from servekit.scheduling.batch import BatchScheduler
from servekit.tasks.repository import Models
from services.retrieval.embed import EmbeddedText
from services.retrieval.vectors import pack

MAX_INPUTS = 2048
BYTES_PER_TOKEN = 4  # of a typical text: its cost is estimated before it is tokenised
IN_FLIGHT = 64  # texts of one request that may be queued, so that a long request leaves room for a short one

EmbedScheduler = BatchScheduler[str, EmbeddedText]


class Embedders:
    """The models that embed texts.

    Args:
        models: The schedulers of the models.
        max_characters: The maximum length of a text.
    """

    def __init__(self, models: Models[EmbedScheduler], max_characters: int) -> None:
        self._models = models
        self._max_characters = max_characters

    def get(self, name: str) -> EmbedScheduler:
        """Return the scheduler of a model id or alias, or of the default model for an empty name.

        Raises:
            NotFound: No model of this name is loaded.
        """
        return self._models.get(name)

    async def embed(self, request: pb.EmbedRequest) -> pb.EmbedResponse:
        """Embed the inputs of a request."""
        if len(request.inputs) > MAX_INPUTS:
            raise TooLarge(f"inputs must have at most {MAX_INPUTS} items, got {len(request.inputs)}", field="inputs")
        scheduler = self.get(request.model)
        fields = [f"inputs[{index}].text" for index in range(len(request.inputs))]
        embedded = await self.embed_texts(scheduler, [entry.text for entry in request.inputs], fields)
        return pb.EmbedResponse(
            embeddings=pack(np.stack([text.vector for text in embedded]), scheduler.spec.id),
            tokens=sum(text.tokens for text in embedded),
            truncated_inputs=[index for index, text in enumerate(embedded) if text.truncated],
            model=scheduler.spec.id,
        )

    async def embed_texts(
        self, scheduler: EmbedScheduler, texts: Sequence[str], fields: Sequence[str]
    ) -> list[EmbeddedText]:
        """Embed texts; return the results in the order of the texts.

        Args:
            scheduler: The scheduler of the model.
            texts: The texts to embed.
            fields: The name of each text in the request, for errors.

        Raises:
            InvalidArgument: A text is empty.
            TooLarge: A text is too long.
            Overloaded: The queue is full.
        """
        for text, field in zip(texts, fields, strict=True):
            if not text.strip():
                raise InvalidArgument("a text must have at least one character that is not white space", field=field)
            if len(text) > self._max_characters:
                message = f"a text must have at most {self._max_characters} characters, got {len(text)}"
                raise TooLarge(message, field=field)
        max_tokens: int = scheduler.model.max_tokens
        room = asyncio.Semaphore(IN_FLIGHT)

        async def one(index: int) -> EmbeddedText:
            size = len(texts[index].encode())
            async with room:
                return await scheduler.submit(texts[index], float(min(max_tokens, 2 + size // BYTES_PER_TOKEN)))

        # Neighbours in the queue share a batch: texts of similar length need little padding.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {index: group.create_task(one(index)) for index in order}
        except* ServeError as errors:
            raise errors.exceptions[0] from None
        return [tasks[index].result() for index in range(len(texts))]
