"""The RPCs on points: what is written, searched and deleted in a collection."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from polyphony.retrieval.v1 import retrieval_pb2 as pb

from servekit.echo import cut
from servekit.errors import InvalidArgument, TooLarge
from services.retrieval.collections import Collections
from services.retrieval.metadata import checked_text, parse_metadata
from services.retrieval.stores import Collection, Point
from services.retrieval.vectors import unpack

MAX_POINTS = 1000
MAX_RESULTS = 1000
DEFAULT_RESULTS = 10
MAX_ID_CHARACTERS = 256


class Points:
    """Upsert, Search and Delete.

    Args:
        collections: The collections that hold the points.
    """

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    async def upsert(self, request: pb.UpsertRequest) -> pb.UpsertResponse:
        """Write points; those without an embedding are embedded from their text."""
        check_count(request.points, "points")
        collection = await self._collections.get(request.collection)
        points, vectors = await read_points(self._collections, collection, request.points, "points")
        await self._collections.store.upsert_points(collection, points, vectors)
        return pb.UpsertResponse(written_count=len(points))

    async def search(self, request: pb.SearchRequest) -> pb.SearchResponse:
        """Find the points nearest to a text or a vector, best first."""
        if not 0 <= request.limit <= MAX_RESULTS:
            raise InvalidArgument(f"limit must be in [0, {MAX_RESULTS}], got {request.limit}", field="limit")
        if math.isnan(request.min_score):
            raise InvalidArgument("min_score must be a number, got NaN", field="min_score")
        metadata = parse_metadata(request.filter, "filter")
        collection = await self._collections.get(request.collection)
        match request.WhichOneof("query"):
            case "embedding":
                vector = unpack(request.embedding, collection, "embedding")
            case "text":
                [vector] = await self._collections.embed(collection, [request.text], ["text"])
            case _:
                raise InvalidArgument("query must be a text or an embedding, got neither", field="query")
        limit = request.limit or DEFAULT_RESULTS
        found = await self._collections.store.search_points(collection, vector, limit, metadata)
        min_score = request.min_score if request.HasField("min_score") else -math.inf
        return pb.SearchResponse(
            points=[pb.ScoredPoint(point=_message(point), score=score) for point, score in found if score >= min_score]
        )

    async def delete(self, request: pb.DeleteRequest) -> pb.DeleteResponse:
        """Delete points by their ids or by a filter."""
        metadata = parse_metadata(request.filter, "filter")
        if bool(request.ids) == bool(metadata):
            raise InvalidArgument("either ids or a filter with at least one key must be given", field="ids")
        ids = [checked_text(point_id, f"ids[{index}]") for index, point_id in enumerate(request.ids)]
        collection = await self._collections.get(request.collection)
        return pb.DeleteResponse(deleted_count=await self._collections.store.delete_points(collection, ids, metadata))


def check_count(messages: Sequence[pb.Point], path: str) -> None:
    """Check the number of points in one message.

    Raises:
        TooLarge: There are too many.
    """
    if len(messages) > MAX_POINTS:
        raise TooLarge(f"{path} must have at most {MAX_POINTS} items, got {len(messages)}", field=path)


async def read_points(
    collections: Collections, collection: Collection, messages: Sequence[pb.Point], path: str
) -> tuple[list[Point], NDArray[np.float32]]:
    """The points of one message and their vectors, `[points, dimensions]`; those without one are embedded.

    Args:
        collections: Embeds the texts.
        collection: The collection that the points are for.
        messages: The points.
        path: The name of their field in the request, for errors.

    Raises:
        InvalidArgument: An id is given twice, or a value cannot be stored.
        TooLarge: An id or a text is too long.
        Overloaded: The queue of the model is full.
    """
    points = _parse(messages, path)
    vectors = np.empty((len(points), collection.dimensions), np.float32)
    texts = []
    for index, message in enumerate(messages):
        if message.HasField("embedding"):
            vectors[index] = unpack(message.embedding, collection, f"{path}[{index}].embedding")
        else:
            texts.append(index)
    if texts:
        fields = [f"{path}[{index}].text" for index in texts]
        vectors[texts] = await collections.embed(collection, [points[index].text for index in texts], fields)
    return points, vectors


def _parse(messages: Sequence[pb.Point], path: str) -> list[Point]:
    points: dict[str, Point] = {}
    for index, point in enumerate(messages):
        field = f"{path}[{index}]"
        if len(point.id) > MAX_ID_CHARACTERS:
            message = f"an id must have at most {MAX_ID_CHARACTERS} characters, got {len(point.id)}"
            raise TooLarge(message, field=f"{field}.id")
        if point.id in points:
            raise InvalidArgument(f"ids must differ, got {cut(point.id)!r} twice", field=f"{field}.id")
        points[point.id] = Point(
            checked_text(point.id, f"{field}.id"),
            checked_text(point.text, f"{field}.text"),
            parse_metadata(point.metadata, f"{field}.metadata"),
        )
    return list(points.values())


def _message(point: Point) -> pb.Point:
    """A point as a message, without its vector."""
    message = pb.Point(id=point.id, text=point.text)
    if point.metadata:
        message.metadata.update(point.metadata)
    return message
