"""The passages of a text file in a vector store: split, written, counted and deleted."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from google.protobuf.struct_pb2 import Struct
from polyphony.retrieval.v1.retrieval_pb2 import (
    DeleteRequest,
    DescribeCollectionRequest,
    Point,
    PointBatch,
    ReplacePointsConfig,
    ReplacePointsRequest,
)

from gateway.clients import Clients
from gateway.pipelines.passages import split_passages
from gateway.records.rows import FileChange, IndexedFile
from servekit.errors import InvalidArgument, UnsupportedMedia

BATCH = 32


async def split_document(content: bytes, max_tokens: int) -> list[str]:
    """Return the passages of a text file.

    Args:
        content: The bytes of the file, UTF-8.
        max_tokens: The approximate maximum length of a passage, in tokens.

    Raises:
        UnsupportedMedia: The file is not UTF-8 text.
        InvalidArgument: The file holds no text, or the character U+0000.
    """
    return await asyncio.to_thread(_split, content, max_tokens)


async def write_passages(clients: Clients, change_id: str, file: IndexedFile, passages: Sequence[str]) -> None:
    """Write the passages of a file to its vector store, in place of the file's earlier passages.

    Searches find the earlier passages until the new ones are complete. A call that fails changes nothing.
    """
    fields = metadata(
        {
            "file_id": file.file_id,
            "filename": file.filename,
            "attributes": {**file.attributes},
            "change": change_id,
        }
    )

    async def requests() -> AsyncGenerator[ReplacePointsRequest]:
        replaced = metadata({"file_id": file.file_id})
        config = ReplacePointsConfig(collection=file.store_id, filter=replaced, point_count=len(passages))
        yield ReplacePointsRequest(config=config)
        for start in range(0, len(passages), BATCH):
            points = [
                Point(id=f"{file.file_id}-{number}", text=passage, metadata=fields)
                for number, passage in enumerate(passages[start : start + BATCH], start)
            ]
            yield ReplacePointsRequest(batch=PointBatch(points=points))

    await clients.retrieval.ReplacePoints(requests())


async def count_passages(clients: Clients, change: FileChange) -> int:
    """Return the number of passages in the vector store that a change has written."""
    written = metadata({"file_id": change.file_id, "change": change.id})
    request = DescribeCollectionRequest(collection=change.store_id, filter=written)
    return (await clients.retrieval.DescribeCollection(request)).point_count


async def delete_passages(clients: Clients, store_id: str, file_id: str) -> None:
    """Delete a file's passages from a vector store."""
    await clients.retrieval.Delete(DeleteRequest(collection=store_id, filter=metadata({"file_id": file_id})))


def metadata(values: Mapping[str, Any]) -> Struct:
    """Values as the metadata of a point."""
    struct = Struct()
    struct.update(values)
    return struct


def _split(content: bytes, max_tokens: int) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnsupportedMedia("the file must be UTF-8 text", field="file_id") from error
    passages = list(split_passages(text, max_tokens))
    if not passages or "\0" in text:
        raise InvalidArgument("the file must contain text, and no character U+0000", field="file_id")
    return passages
