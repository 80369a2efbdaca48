"""A model that embeds, and the queue before it: from the texts of one call to their vectors."""

import asyncio
from collections.abc import Sequence

from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.rpc.errors import InvalidArgument, ServeError, TooLarge
from servekit.scheduling.batch import BatchScheduler
from services.retrieval.embed import EmbeddedText, TextEmbedder
from services.retrieval.settings import RetrievalSettings

BYTES_A_TOKEN = 4  # of a typical text: its cost is guessed before it is tokenised
IN_FLIGHT = 64  # texts of one call that may be in the queue: a long call leaves room for a short one


class EmbedScheduler(BatchScheduler[str, EmbeddedText]):
    """The queue of an embedding model; a text costs its tokens.

    Args:
        spec: The model's.
        model: The model; it runs on `engines` threads at once.
        telemetry: Where the scheduler's metrics go.
        settings: Bounds.
    """

    def __init__(self, spec: ModelSpec, model: TextEmbedder, telemetry: Telemetry, settings: RetrievalSettings) -> None:
        super().__init__(
            spec,
            [model] * settings.engines,
            telemetry,
            max_batch_cost=settings.max_batch_tokens,
            max_queue_cost=settings.max_queue_tokens,
        )
        self.dimensions = model.dimensions
        self._max_tokens = model.max_tokens
        self._max_text_characters = settings.max_text_characters

    async def embed(self, texts: Sequence[str], fields: Sequence[str]) -> list[EmbeddedText]:
        """The texts' vectors, in their order.

        Args:
            texts: What to embed.
            fields: What each is called in the request.

        Raises:
            InvalidArgument: A text is empty.
            TooLarge: A text is longer than is accepted.
            Overloaded: The queue is full.
        """
        for text, field in zip(texts, fields, strict=True):
            if not text.strip():
                raise InvalidArgument("the text is empty", field=field)
            if len(text) > self._max_text_characters:
                raise TooLarge(f"a text has at most {self._max_text_characters} characters", field=field)
        room = asyncio.Semaphore(IN_FLIGHT)

        async def one(index: int) -> EmbeddedText:
            size = len(texts[index].encode())
            async with room:
                return await self.submit(texts[index], float(min(self._max_tokens, 2 + size // BYTES_A_TOKEN)))

        # Neighbours in the queue share a batch: texts of like length leave little to padding.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {index: group.create_task(one(index)) for index in order}
        except* ServeError as errors:
            raise errors.exceptions[0] from None
        return [tasks[index].result() for index in range(len(texts))]
