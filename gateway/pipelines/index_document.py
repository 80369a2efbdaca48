"""Indexing: a text file is split into passages, each embedded and written to a vector store."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct
from polyphony.retrieval.v1.retrieval_pb2 import DeleteRequest, Point, UpsertRequest

from gateway.clients import Clients
from gateway.records import Attributes, FileRecord
from servekit.errors import InvalidArgument, UnsupportedMedia
from servekit.media.scripts import join

BATCH = 32
_SENTENCE = re.compile(r"(?<=[.!?;:])\s+|(?<=[。！？；])|\n\s*\n")
_WORD = re.compile(r"\s+")


async def index_document(
    clients: Clients, store_id: str, file: FileRecord, content: bytes, attributes: Attributes, max_tokens: int
) -> int:
    """Write the passages of a text file to a vector store, in place of the file's earlier passages.

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
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnsupportedMedia("the file must be UTF-8 text", field="file_id") from error
    passages = list(split_passages(text, max_tokens))
    if not passages or "\0" in text:
        raise InvalidArgument("the file must contain text, and no character U+0000", field="file_id")
    await remove_document(clients, store_id, file.id)
    fields = metadata({"file_id": file.id, "filename": file.filename, "attributes": {**attributes}})
    for start in range(0, len(passages), BATCH):
        points = [
            Point(id=f"{file.id}-{number}", text=passage, metadata=fields)
            for number, passage in enumerate(passages[start : start + BATCH], start)
        ]
        await clients.retrieval.Upsert(UpsertRequest(collection=store_id, points=points))
    return len(passages)


async def remove_document(clients: Clients, store_id: str, file_id: str) -> None:
    """Delete a file's passages from a vector store."""
    await clients.retrieval.Delete(DeleteRequest(collection=store_id, filter=metadata({"file_id": file_id})))


def metadata(values: Mapping[str, Any]) -> Struct:
    """Values as the metadata of a point."""
    struct = Struct()
    struct.update(values)
    return struct


def split_passages(text: str, max_tokens: int) -> Iterator[str]:
    """Yield passages of whole sentences; a passage begins with the last sentence of the one before if both fit.

    Args:
        text: The text to split.
        max_tokens: The approximate maximum length of a passage; see `rough_tokens`.
    """
    passage: list[str] = []
    length = 0.0
    for sentence in _sentences(text, max_tokens):
        cost = rough_tokens(sentence)
        if passage and length + cost > max_tokens:
            yield join(passage)
            last = passage[-1]
            passage = [last] if rough_tokens(last) + cost <= max_tokens and len(passage) > 1 else []
            length = sum(map(rough_tokens, passage))
        passage.append(sentence)
        length += cost
    if passage:
        yield join(passage)


def _sentences(text: str, max_tokens: int) -> Iterator[str]:
    """Yield sentences with single spaces; one that is too long is split between words, or within a longer word."""
    for raw in _SENTENCE.split(text):
        sentence = _WORD.sub(" ", raw).strip()
        while sentence and rough_tokens(sentence) > max_tokens:
            end = max_tokens if rough_tokens(sentence[: 4 * max_tokens]) > max_tokens else 4 * max_tokens
            end = sentence.rfind(" ", 1, end) if " " in sentence[1:end] else end
            yield sentence[:end].strip()
            sentence = sentence[end:].strip()
        if sentence:
            yield sentence


def rough_tokens(text: str) -> float:
    """Return the approximate number of tokens of a text: four ASCII characters, or one other character, are a token."""
    latin = sum(character.isascii() for character in text)
    return latin / 4 + len(text) - latin
