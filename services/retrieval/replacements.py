"""ReplacePoints: new points are embedded as they arrive, and take the place of the old ones in one transaction."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from polyphony.retrieval.v1 import retrieval_pb2 as pb

from servekit.echo import cut
from servekit.errors import InvalidArgument, Overloaded, TooLarge
from servekit.rpc.contract import check_required
from services.retrieval.collections import Collections
from services.retrieval.metadata import parse_metadata
from services.retrieval.points import check_count, read_points
from services.retrieval.stores import Point

MAX_POINTS = 100_000
POINT_BYTES = 1024  # of the objects that hold a point, besides its message and its vector
RETRY_SECONDS = 10.0  # after which another call may have written its points

Requests = AsyncIterator[pb.ReplacePointsRequest]


class Replacements:
    """The running calls of ReplacePoints.

    Args:
        collections: The collections that hold the points.
        max_bytes: The most bytes of new points that the calls hold together.
    """

    def __init__(self, collections: Collections, max_bytes: int) -> None:
        self._collections = collections
        self._max_bytes = max_bytes
        self._held_bytes = 0

    async def replace(self, requests: Requests) -> pb.ReplacePointsResponse:
        """Replace the points that match the filter of the first message by those of the messages after it."""
        config = await _config(requests)
        metadata = parse_metadata(config.filter, "config.filter")
        if not metadata:
            raise InvalidArgument("config.filter must have at least one key", field="config.filter")
        if not 0 <= config.point_count <= MAX_POINTS:
            message = f"config.point_count must be in [0, {MAX_POINTS}], got {config.point_count}"
            raise InvalidArgument(message, field="config.point_count")
        collection = await self._collections.get(config.collection)
        with self._reserved() as reserve:
            reserve(config.point_count * (4 * collection.dimensions + POINT_BYTES))
            batches: list[tuple[Sequence[Point], NDArray[np.float32]]] = []
            ids: set[str] = set()
            async for request in requests:
                messages = _batch(request)
                reserve(request.ByteSize())
                points, vectors = await read_points(self._collections, collection, messages, "batch.points")
                for index, point in enumerate(points):
                    if point.id in ids:
                        field = f"batch.points[{index}].id"
                        raise InvalidArgument(f"ids must differ, got {cut(point.id)!r} twice", field=field)
                    ids.add(point.id)
                _check_count(config, len(ids), ended=False)
                batches.append((points, vectors))
            # A caller that disconnects ends the stream, too.
            _check_count(config, len(ids), ended=True)
            deleted = await self._collections.store.replace_points(collection, metadata, batches)
        return pb.ReplacePointsResponse(deleted_count=deleted, written_count=len(ids))

    @contextmanager
    def _reserved(self) -> Iterator[Callable[[int], None]]:
        """A function that reserves bytes for a call, until the end of the block.

        It raises `TooLarge` where the call alone needs too much, and `Overloaded` where too little is left.
        """
        held = 0

        def reserve(size: int) -> None:
            nonlocal held
            if held + size > self._max_bytes:
                message = f"the points of a call must take at most {self._max_bytes} bytes of memory"
                raise TooLarge(message, field="batch.points")
            if self._held_bytes + size > self._max_bytes:
                message = f"the points of all running calls may take {self._max_bytes} bytes of memory"
                raise Overloaded(message, retry_after=RETRY_SECONDS)
            held += size
            self._held_bytes += size

        try:
            yield reserve
        finally:
            self._held_bytes -= held


async def _config(requests: Requests) -> pb.ReplacePointsConfig:
    request = await anext(requests, None)
    if request is None or not request.HasField("config"):
        raise InvalidArgument("the first message must be the config", field="config")
    check_required(request)
    return request.config


def _batch(request: pb.ReplacePointsRequest) -> Sequence[pb.Point]:
    if not request.HasField("batch"):
        raise InvalidArgument("the messages after the config must be batches of points", field="batch")
    check_required(request)
    check_count(request.batch.points, "batch.points")
    return request.batch.points


def _check_count(config: pb.ReplacePointsConfig, count: int, *, ended: bool) -> None:
    if count > config.point_count or (ended and count < config.point_count):
        message = f"the stream must have config.point_count points, {config.point_count}, got {count}"
        raise InvalidArgument(message, field="config.point_count")
