"""`Embed`: from the texts of one request to their vectors."""

import asyncio
from collections.abc import Sequence

from servekit.models.repository import Models
from servekit.rpc.errors import InvalidArgument, ServeError, TooLarge
from servekit.scheduling.batch import BatchScheduler
from services.retrieval.embed import EmbeddedText

BYTES_PER_TOKEN = 4  # of a typical text: its cost is estimated before it is tokenised
IN_FLIGHT = 64  # texts of one request that may be queued, so that a long request leaves room for a short one

EmbedScheduler = BatchScheduler[str, EmbeddedText]


class Embedders:
    """The models that embed texts.

    Args:
        models: Their schedulers.
        max_characters: The longest text that is embedded.
    """

    def __init__(self, models: Models[EmbedScheduler], max_characters: int) -> None:
        self._models = models
        self._max_characters = max_characters

    def get(self, name: str) -> EmbedScheduler:
        """The scheduler of a model id or alias, or of the default where the name is empty.

        Raises:
            NotFound: There is no such model.
        """
        return self._models.get(name)

    async def embed(self, scheduler: EmbedScheduler, texts: Sequence[str], fields: Sequence[str]) -> list[EmbeddedText]:
        """The texts' vectors, in their order.

        Args:
            scheduler: The scheduler of the model.
            texts: The texts to embed.
            fields: The name of each in the request.

        Raises:
            InvalidArgument: A text is empty.
            TooLarge: A text is too long.
            Overloaded: The queue is full.
        """
        for text, field in zip(texts, fields, strict=True):
            if not text.strip():
                raise InvalidArgument("the text is empty", field=field)
            if len(text) > self._max_characters:
                problem = f"a text must have at most {self._max_characters} characters, got {len(text)}"
                raise TooLarge(problem, field=field)
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
