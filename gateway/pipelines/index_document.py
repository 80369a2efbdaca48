"""Indexing: a text file is split into passages, each embedded and written to a vector store."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct
from polyphony.retrieval.v1.retrieval_pb2 import (
    DeleteRequest,
    Point,
    PointBatch,
    ReplacePointsConfig,
    ReplacePointsRequest,
)

from gateway.clients import Clients
from gateway.pipelines.passages import split_passages
from gateway.records import Attributes, FileRecord
from servekit.errors import InvalidArgument, UnsupportedMedia

BATCH = 32


async def index_document(
    clients: Clients, store_id: str, file: FileRecord, content: bytes, attributes: Attributes, max_tokens: int
) -> int:
    """Write the passages of a text file to a vector store, in place of the file's earlier passages.

    Searches find the earlier passages until the new ones are complete. A call that fails changes nothing.

    Args:
        clients: The clients of the services.
        store_id: The id of the vector store.
        file: The record of the file.
        content: The bytes of the file, UTF-8.
        attributes: The attributes that searches can filter by.
        max_tokens: The approximate maximum length of a passage, in tokens.

    Returns:
        The number of passages.

    Raises:
        UnsupportedMedia: The file is not UTF-8 text.
        InvalidArgument: The file holds no text, or the character U+0000.
    """
    passages = await asyncio.to_thread(_read_passages, content, max_tokens)
    fields = metadata({"file_id": file.id, "filename": file.filename, "attributes": {**attributes}})

    async def requests() -> AsyncGenerator[ReplacePointsRequest]:
        replaced = metadata({"file_id": file.id})
        config = ReplacePointsConfig(collection=store_id, filter=replaced, point_count=len(passages))
        yield ReplacePointsRequest(config=config)
        for start in range(0, len(passages), BATCH):
            points = [
                Point(id=f"{file.id}-{number}", text=passage, metadata=fields)
                for number, passage in enumerate(passages[start : start + BATCH], start)
            ]
            yield ReplacePointsRequest(batch=PointBatch(points=points))

    await clients.retrieval.ReplacePoints(requests())
    return len(passages)


async def remove_document(clients: Clients, store_id: str, file_id: str) -> None:
    """Delete a file's passages from a vector store."""
    await clients.retrieval.Delete(DeleteRequest(collection=store_id, filter=metadata({"file_id": file_id})))


def metadata(values: Mapping[str, Any]) -> Struct:
    """Values as the metadata of a point."""
    struct = Struct()
    struct.update(values)
    return struct


def _read_passages(content: bytes, max_tokens: int) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnsupportedMedia("the file must be UTF-8 text", field="file_id") from error
    passages = list(split_passages(text, max_tokens))
    if not passages or "\0" in text:
        raise InvalidArgument("the file must contain text, and no character U+0000", field="file_id")
    return passages
