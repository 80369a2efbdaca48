"""The RPCs on collections, and the vectors of a collection's space."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from polyphony.retrieval.v1 import retrieval_pb2 as pb

from servekit.context import current
from servekit.echo import cut
from servekit.errors import FailedPrecondition, InvalidArgument, NotFound
from servekit.rpc.bounds import check_name, is_name
from services.retrieval.embed.embed import Embedders
from services.retrieval.metadata import parse_metadata
from services.retrieval.stores import Collection, Metric, VectorStore

MAX_DIMENSIONS = 2000  # of a vector that pgvector can index
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 1000

_SPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}")
_METRICS = {
    pb.METRIC_UNSPECIFIED: Metric.COSINE,
    pb.METRIC_COSINE: Metric.COSINE,
    pb.METRIC_DOT: Metric.DOT,
    pb.METRIC_EUCLIDEAN: Metric.EUCLIDEAN,
}
_METRIC_MESSAGES = {metric: value for value, metric in _METRICS.items()}


class Collections:
    """Collections of the caller's tenant.

    Args:
        embedders: The models that embed texts.
        store: The store of the collections; None for a service that only embeds.
    """

    def __init__(self, embedders: Embedders, store: VectorStore | None) -> None:
        self._embedders = embedders
        self._store = store

    @property
    def store(self) -> VectorStore:
        """The store.

        Raises:
            FailedPrecondition: The service has none.
        """
        if self._store is None:
            raise FailedPrecondition("this service stores no collections: database_url is empty")
        return self._store

    async def get(self, name: str) -> Collection:
        """The collection of this name.

        Raises:
            InvalidArgument: The name is malformed.
            NotFound: The tenant has no such collection.
        """
        return await self.store.get_collection(current().tenant, check_name(name, "collection"))

    async def create(self, request: pb.CreateCollectionRequest) -> pb.CreateCollectionResponse:
        """Create an empty collection."""
        name = check_name(request.name)
        if request.metric not in _METRICS:
            raise InvalidArgument(f"metric must be a value of Metric, got {request.metric}", field="metric")
        space, dimensions = self._space(request.space, request.dimensions)
        metric = _METRICS[request.metric]
        created = await self.store.create_collection(current().tenant, name, space, dimensions, metric)
        return pb.CreateCollectionResponse(collection=_message(created))

    async def describe(self, request: pb.DescribeCollectionRequest) -> pb.DescribeCollectionResponse:
        """Return a collection and the number of its points that match the filter."""
        metadata = parse_metadata(request.filter, "filter")
        collection = await self.get(request.collection)
        count = await self.store.count_points(collection, metadata)
        return pb.DescribeCollectionResponse(collection=_message(collection), point_count=count)

    async def list(self, request: pb.ListCollectionsRequest) -> pb.ListCollectionsResponse:
        """Return one page of the tenant's collections; a page's token is the last name on the page before it."""
        if request.page_size < 0:
            raise InvalidArgument(f"page_size must not be negative, got {request.page_size}", field="page_size")
        if request.page_token and not is_name(request.page_token):
            raise InvalidArgument("page_token must be the next_page_token of another response", field="page_token")
        size = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        found = await self.store.list_collections(current().tenant, request.page_token, size + 1)
        return pb.ListCollectionsResponse(
            collections=[_message(collection) for collection in found[:size]],
            next_page_token=found[size - 1].name if len(found) > size else "",
        )

    async def delete(self, request: pb.DeleteCollectionRequest) -> pb.DeleteCollectionResponse:
        """Delete a collection with its points and indexes."""
        try:
            await self.store.delete_collection(current().tenant, check_name(request.collection, "collection"))
        except NotFound:
            if not request.allow_missing:
                raise
        return pb.DeleteCollectionResponse()

    async def embed(self, collection: Collection, texts: Sequence[str], fields: Sequence[str]) -> NDArray[np.float32]:
        """Texts as vectors of a collection's space, float32 `[texts, dimensions]`.

        Args:
            collection: The collection that the vectors are for.
            texts: What to embed.
            fields: The name of each text in the request, for errors.

        Raises:
            FailedPrecondition: The collection's space is not that of a loaded model.
        """
        try:
            scheduler = self._embedders.get(collection.space)
        except NotFound:
            raise FailedPrecondition(
                f"no model of the space {collection.space!r} is loaded: send an embedding", field=fields[0]
            ) from None
        embedded = await self._embedders.embed_texts(scheduler, texts, fields)
        return np.stack([text.vector for text in embedded])

    def _space(self, name: str, dimensions: int) -> tuple[str, int]:
        """A collection's space and dimensions: those of a loaded model, or as the request states them."""
        try:
            scheduler = self._embedders.get(name)
        except NotFound:
            if not _SPACE.fullmatch(name):
                message = f"a space must be 1 to 128 letters, digits and ._/:-, got {cut(name)!r}"
                raise InvalidArgument(message, field="space") from None
            if not 1 <= dimensions <= MAX_DIMENSIONS:
                message = f"dimensions must be in [1, {MAX_DIMENSIONS}] for a model not loaded here, got {dimensions}"
                raise InvalidArgument(message, field="dimensions") from None
            return name, dimensions
        produced = scheduler.model.dimensions
        if dimensions not in (0, produced):
            message = f"dimensions must be {produced} for {scheduler.spec.id}, got {dimensions}"
            raise InvalidArgument(message, field="dimensions")
        return scheduler.spec.id, produced


def _message(collection: Collection) -> pb.Collection:
    return pb.Collection(
        name=collection.name,
        space=collection.space,
        dimensions=collection.dimensions,
        metric=_METRIC_MESSAGES[collection.metric],
    )
