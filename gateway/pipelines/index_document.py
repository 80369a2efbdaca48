"""Indexing: a text file cut to passages, each embedded and kept in a vector store."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct
from polyphony.retrieval.v1.retrieval_pb2 import DeleteRequest, Point, UpsertRequest

from gateway.clients import Clients
from gateway.records import Attributes, FileRecord
from servekit.media.scripts import join
from servekit.rpc.errors import InvalidArgument, UnsupportedMedia

BATCH = 32
_SENTENCE = re.compile(r"(?<=[.!?;:])\s+|(?<=[。！？；])|\n\s*\n")
_WORD = re.compile(r"\s+")


async def index_document(
    clients: Clients, store_id: str, file: FileRecord, content: bytes, attributes: Attributes, max_tokens: int
) -> int:
    """Write the passages of a text file to a vector store, in place of those it had of this file.

    Args:
        content: The file's bytes, UTF-8.
        max_tokens: About how long a passage may be.

    Returns:
        How many passages there are.

    Raises:
        UnsupportedMedia: It is not text.
        InvalidArgument: There are no words in it.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnsupportedMedia("only text files in UTF-8 can be indexed", field="file_id") from error
    passages = list(cut(text, max_tokens))
    if not passages or "\0" in text:
        raise InvalidArgument("the file has no text in it", field="file_id")
    await remove_document(clients, store_id, file.id)
    about = metadata({"file_id": file.id, "filename": file.filename, "attributes": {**attributes}})
    for start in range(0, len(passages), BATCH):
        points = [
            Point(id=f"{file.id}-{number}", text=passage, metadata=about)
            for number, passage in enumerate(passages[start : start + BATCH], start)
        ]
        await clients.retrieval.Upsert(UpsertRequest(collection=store_id, points=points))
    return len(passages)


async def remove_document(clients: Clients, store_id: str, file_id: str) -> None:
    """Delete a file's passages from a vector store."""
    await clients.retrieval.Delete(DeleteRequest(collection=store_id, filter=metadata({"file_id": file_id})))


def metadata(values: Mapping[str, Any]) -> Struct:
    """Values as what a point carries."""
    struct = Struct()
    struct.update(values)
    return struct


def cut(text: str, max_tokens: int) -> Iterator[str]:
    """Whole sentences, as many as fit into a passage; each passage begins with the last sentence of the one before.

    Args:
        max_tokens: About how long a passage may be, counting four Latin letters or one Chinese character a token.
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
    """Sentences without needless space; one that is too long is cut between words, a word too long anywhere."""
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
    """About how many tokens a text has."""
    latin = sum(character.isascii() for character in text)
    return latin / 4 + len(text) - latin
