"""The port of the vector stores, and the URL schemes that choose one."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from servekit.database.schemes import open_by_scheme
from servekit.echo import cut
from servekit.errors import AlreadyExists, NotFound

OPENERS = {
    "memory": "services.retrieval.stores.memory:open_store",
    "postgresql": "services.retrieval.stores.postgres:open_store",
    "postgres": "services.retrieval.stores.postgres:open_store",
}


class Metric(enum.Enum):
    """How two vectors are compared."""

    COSINE = "cosine"
    DOT = "dot"
    EUCLIDEAN = "euclidean"


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of points of one embedding space.

    Attributes:
        key: The store's own number of the collection; never used twice.
        name: The collection's name within its tenant.
        space: The embedding space of its vectors: a model id.
        dimensions: Numbers in a vector.
        metric: How its vectors are compared.
        indexed: Whether searches go through an approximate index; they are exact otherwise.
    """

    key: int
    name: str
    space: str
    dimensions: int
    metric: Metric
    indexed: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """The fields of a point other than its vector."""

    id: str
    text: str
    metadata: Mapping[str, Any]


Batches = Sequence[tuple[Sequence[Point], NDArray[np.float32]]]  # points, and their vectors `[points, dimensions]`


class VectorStore(Protocol):
    """Collections of points by tenant. Every vector given is finite, float32, of its collection's dimensions.

    A method that takes a `Collection` raises `NotFound` where the collection has been deleted meanwhile. Any method
    raises `Unavailable`, `Overloaded` or `DeadlineExceeded` where the database behind the store fails.
    """

    @property
    def ready(self) -> bool:
        """Whether the store can answer."""

    async def start(self) -> None:
        """Begin to connect; `ready` becomes true when that is done."""

    async def stop(self) -> None:
        """Close every connection."""

    async def create_collection(
        self, tenant: str, name: str, space: str, dimensions: int, metric: Metric
    ) -> Collection:
        """Create an empty collection.

        Raises:
            AlreadyExists: The tenant has a collection of this name.
        """

    async def get_collection(self, tenant: str, name: str) -> Collection:
        """Return a tenant's collection.

        Raises:
            NotFound: The tenant has no collection of this name.
        """

    async def list_collections(self, tenant: str, after: str, limit: int) -> list[Collection]:
        """Return at most `limit` of the tenant's collections whose names come after `after`, in code point order."""

    async def delete_collection(self, tenant: str, name: str) -> None:
        """Delete a collection with its points, and all that the store has kept for it.

        Space that cannot be freed at once, since other calls use it, is freed later.

        Raises:
            NotFound: The tenant has no collection of this name.
        """

    async def count_points(self, collection: Collection, metadata: Mapping[str, Any]) -> int:
        """Return the number of points of a collection whose metadata contain these keys and values."""

    async def upsert_points(
        self, collection: Collection, points: Sequence[Point], vectors: NDArray[np.float32]
    ) -> None:
        """Write points, all or none of them; a point whose id exists is replaced.

        Args:
            collection: The collection to write to.
            points: `[points]`, of different ids.
            vectors: float32 `[points, dimensions]`.
        """

    async def replace_points(self, collection: Collection, metadata: Mapping[str, Any], batches: Batches) -> int:
        """Replace the points whose metadata contains `metadata`, in one transaction; return how many there were.

        Other calls see the old points alone until this one has succeeded, and the new points alone from then on. A
        call that fails changes nothing.

        Args:
            collection: The collection to write to.
            metadata: What the metadata of the old points contains.
            batches: The new points, all of different ids; one that has the id of any other point replaces it.
        """

    async def search_points(
        self, collection: Collection, vector: NDArray[np.float32], limit: int, metadata: Mapping[str, Any]
    ) -> list[tuple[Point, float]]:
        """Return the nearest points whose metadata contains `metadata`, best first, each with its score."""

    async def delete_points(self, collection: Collection, ids: Sequence[str], metadata: Mapping[str, Any]) -> int:
        """Delete the points of these ids or, without ids, those whose metadata contains `metadata`; return how many."""


def open_store(url: str, connections: int) -> VectorStore | None:
    """Return the store that a URL names, not yet started; None for an empty URL.

    Args:
        url: `memory:`, or `postgresql://user:password@host/database`.
        connections: The number of connections that a store may hold to its database.

    Raises:
        FailedPrecondition: No store has the URL's scheme.
    """
    return cast("VectorStore", open_by_scheme(url, connections, OPENERS)) if url else None


def collection_exists(name: str) -> AlreadyExists:
    """The error for a name that the tenant has used."""
    return AlreadyExists(f"a collection named {cut(name)!r} already exists", field="name")


def collection_not_found(name: str) -> NotFound:
    """The error for a name that the tenant has no collection of."""
    return NotFound(f"no collection named {cut(name)!r}", field="collection")
