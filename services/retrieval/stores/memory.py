"""Collections in the memory of the process, searched exactly, for fakes and tests. They end with the process."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.retrieval.stores import (
    Batches,
    Collection,
    Metric,
    Point,
    VectorStore,
    collection_exists,
    collection_not_found,
)

Rows = dict[str, tuple[Point, NDArray[np.float32]]]


class MemoryStore:
    """See `VectorStore`."""

    ready = True

    def __init__(self) -> None:
        self._keys = itertools.count(1)
        self._collections: dict[tuple[str, str], Collection] = {}
        self._rows: dict[int, Rows] = {}

    async def start(self) -> None:
        """Ready from the beginning."""

    async def stop(self) -> None:
        """Nothing is open."""

    async def create_collection(
        self, tenant: str, name: str, space: str, dimensions: int, metric: Metric
    ) -> Collection:
        if (tenant, name) in self._collections:
            raise collection_exists(name)
        collection = Collection(next(self._keys), name, space, dimensions, metric)
        self._collections[tenant, name] = collection
        self._rows[collection.key] = {}
        return collection

    async def get_collection(self, tenant: str, name: str) -> Collection:
        if (tenant, name) not in self._collections:
            raise collection_not_found(name)
        return self._collections[tenant, name]

    async def list_collections(self, tenant: str, after: str, limit: int) -> list[Collection]:
        names = sorted(name for owner, name in self._collections if owner == tenant and name > after)
        return [self._collections[tenant, name] for name in names[:limit]]

    async def delete_collection(self, tenant: str, name: str) -> None:
        del self._rows[(await self.get_collection(tenant, name)).key]
        del self._collections[tenant, name]

    async def count_points(self, collection: Collection, metadata: Mapping[str, Any]) -> int:
        return sum(contains(point.metadata, metadata) for point, _ in self._of(collection).values())

    async def upsert_points(
        self, collection: Collection, points: Sequence[Point], vectors: NDArray[np.float32]
    ) -> None:
        self._of(collection).update(_rows(points, vectors))

    async def replace_points(self, collection: Collection, metadata: Mapping[str, Any], batches: Batches) -> int:
        new = {key: row for points, vectors in batches for key, row in _rows(points, vectors).items()}
        deleted = await self.delete_points(collection, [], metadata)
        self._of(collection).update(new)
        return deleted

    async def search_points(
        self, collection: Collection, vector: NDArray[np.float32], limit: int, metadata: Mapping[str, Any]
    ) -> list[tuple[Point, float]]:
        rows = [row for row in self._of(collection).values() if contains(row[0].metadata, metadata)]
        if not rows:
            return []
        vectors = np.stack([vector for _, vector in rows]).astype(np.float64)
        scores = _scores(collection.metric, vectors, vector.astype(np.float64))
        return [(rows[index][0], float(scores[index])) for index in np.argsort(-scores, kind="stable")[:limit]]

    async def delete_points(self, collection: Collection, ids: Sequence[str], metadata: Mapping[str, Any]) -> int:
        rows = self._of(collection)
        doomed = set(ids) & rows.keys() if ids else {k for k, (p, _) in rows.items() if contains(p.metadata, metadata)}
        for key in doomed:
            del rows[key]
        return len(doomed)

    def _of(self, collection: Collection) -> Rows:
        if collection.key not in self._rows:
            raise collection_not_found(collection.name)
        return self._rows[collection.key]


def _rows(points: Sequence[Point], vectors: NDArray[np.float32]) -> Rows:
    return {point.id: (point, vector.copy()) for point, vector in zip(points, vectors, strict=True)}


def contains(value: object, part: object) -> bool:
    """Whether a JSON value contains another, as Postgres's `@>` says: every key with its value, every element."""
    match value, part:
        case Mapping(), Mapping():
            return all(key in value and contains(value[key], wanted) for key, wanted in part.items())
        case list(), list():
            return all(any(contains(element, wanted) for element in value) for wanted in part)
        case _:
            return isinstance(value, bool) == isinstance(part, bool) and value == part


def _scores(metric: Metric, vectors: NDArray[np.float64], query: NDArray[np.float64]) -> NDArray[np.float64]:
    """The score of each of `[points, dimensions]` vectors, greater for nearer."""
    scores: NDArray[np.float64]
    match metric:
        case Metric.COSINE:
            scores = vectors @ query / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query))
        case Metric.DOT:
            scores = vectors @ query
        case Metric.EUCLIDEAN:
            scores = -np.linalg.norm(vectors - query, axis=1)
    return scores


def open_store(url: str, connections: int) -> VectorStore:  # noqa: ARG001
    """An empty store."""
    return MemoryStore()
