"""The retrieval service: what each RPC does."""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from polyphony.retrieval.v1 import retrieval_pb2 as pb
from polyphony.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceServicer, add_RetrievalServiceServicer_to_server

from servekit.models.loading import Models, load, specs
from servekit.ops.telemetry import Telemetry
from servekit.rpc.context import current
from servekit.rpc.errors import FailedPrecondition, InvalidArgument, NotFound, TooLarge
from servekit.rpc.server import ServiceSpec
from servekit.scheduling.tensors import TensorScheduler
from services.retrieval.embed import RUNTIMES, TextEmbedder
from services.retrieval.embed.embed import EmbedScheduler
from services.retrieval.points import checked_name, checked_text, fields_of, message, points_of
from services.retrieval.settings import RetrievalSettings
from services.retrieval.stores.database import Database
from services.retrieval.stores.postgres import Collection, Metric, Store
from services.retrieval.stores.vectors import pack, unpack

MAX_INPUTS = 2048
MAX_POINTS = 1000
MAX_RESULTS = 1000
DEFAULT_RESULTS = 10
MAX_DIMENSIONS = 2000  # of what pgvector's index takes

_SPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}")
_METRICS = {
    pb.METRIC_UNSPECIFIED: Metric.COSINE,
    pb.METRIC_COSINE: Metric.COSINE,
    pb.METRIC_DOT: Metric.DOT,
    pb.METRIC_EUCLIDEAN: Metric.EUCLIDEAN,
}


class RetrievalService(RetrievalServiceServicer):
    """`polyphony.retrieval.v1.RetrievalService`.

    Args:
        embedders: The schedulers that embed texts.
        store: Where collections are kept.
    """

    def __init__(self, embedders: Models[EmbedScheduler], store: Store) -> None:
        self._embedders = embedders
        self._store = store

    async def Embed(self, request: pb.EmbedRequest, context: object) -> pb.EmbedResponse:
        if len(request.inputs) > MAX_INPUTS:
            raise TooLarge(f"at most {MAX_INPUTS} inputs", field="inputs")
        scheduler = self._embedders.get(request.model)
        fields = [f"inputs[{index}].text" for index in range(len(request.inputs))]
        embedded = await scheduler.embed([entry.text for entry in request.inputs], fields)
        return pb.EmbedResponse(
            embeddings=pack(np.stack([text.vector for text in embedded]), scheduler.spec.id),
            tokens=sum(text.tokens for text in embedded),
            truncated_inputs=[index for index, text in enumerate(embedded) if text.truncated],
            model=scheduler.spec.id,
        )

    async def CreateCollection(
        self, request: pb.CreateCollectionRequest, context: object
    ) -> pb.CreateCollectionResponse:
        name = checked_name(request.name, "name")
        if request.metric not in _METRICS:
            raise InvalidArgument(f"there is no metric {request.metric}", field="metric")
        space, dimensions = self._space(request.space, request.dimensions)
        made = await self._store.create(current().tenant, name, space, dimensions, _METRICS[request.metric])
        metric = request.metric or pb.METRIC_COSINE
        return pb.CreateCollectionResponse(
            collection=pb.Collection(name=made.name, space=made.space, dimensions=made.dimensions, metric=metric)
        )

    async def Upsert(self, request: pb.UpsertRequest, context: object) -> pb.UpsertResponse:
        if len(request.points) > MAX_POINTS:
            raise TooLarge(f"at most {MAX_POINTS} points", field="points")
        collection = await self._collection(request.collection)
        points = points_of(request.points)
        vectors = np.empty((len(points), collection.dimensions), np.float32)
        bare = []
        for index, point in enumerate(request.points):
            if point.HasField("embedding"):
                vectors[index] = unpack(point.embedding, collection, f"points[{index}].embedding")
            else:
                bare.append(index)
        if bare:
            texts = [points[index].text for index in bare]
            vectors[bare] = await self._embed(collection, texts, [f"points[{index}].text" for index in bare])
        await self._store.upsert(collection, points, vectors)
        return pb.UpsertResponse(written=len(points))

    async def Search(self, request: pb.SearchRequest, context: object) -> pb.SearchResponse:
        if not 0 <= request.limit <= MAX_RESULTS:
            raise InvalidArgument(f"limit is between 0 and {MAX_RESULTS}", field="limit")
        if math.isnan(request.min_score):
            raise InvalidArgument("min_score is a number", field="min_score")
        where = fields_of(request.filter, "filter")
        collection = await self._collection(request.collection)
        match request.WhichOneof("query"):
            case "embedding":
                vector = unpack(request.embedding, collection, "embedding")
            case "text":
                [vector] = await self._embed(collection, [request.text], ["text"])
            case _:
                raise InvalidArgument("a text or an embedding is required", field="query")
        found = await self._store.search(collection, vector, request.limit or DEFAULT_RESULTS, where)
        least = request.min_score if request.HasField("min_score") else -math.inf
        return pb.SearchResponse(
            points=[pb.ScoredPoint(point=message(point), score=score) for point, score in found if score >= least]
        )

    async def Delete(self, request: pb.DeleteRequest, context: object) -> pb.DeleteResponse:
        where = fields_of(request.filter, "filter")
        if bool(request.ids) == bool(where):
            raise InvalidArgument("either ids or a filter that names a key is required", field="ids")
        ids = [checked_text(identity, f"ids[{index}]") for index, identity in enumerate(request.ids)]
        collection = await self._collection(request.collection)
        return pb.DeleteResponse(deleted=await self._store.delete(collection, ids, where))

    async def _collection(self, name: str) -> Collection:
        return await self._store.get(current().tenant, checked_name(name, "collection"))

    def _space(self, name: str, dimensions: int) -> tuple[str, int]:
        """A collection's space and size: of a model here, which knows both, or of one elsewhere, as stated."""
        try:
            scheduler = self._embedders.get(name)
        except NotFound:
            if not _SPACE.fullmatch(name):
                raise InvalidArgument("a space is 1 to 128 letters, digits and ._/:-", field="space") from None
            if not 1 <= dimensions <= MAX_DIMENSIONS:
                raise InvalidArgument(
                    f"no model {name!r} is loaded that knows its dimensions: state 1 to {MAX_DIMENSIONS}",
                    field="dimensions",
                ) from None
            return name, dimensions
        if dimensions not in (0, scheduler.dimensions):
            raise InvalidArgument(f"{scheduler.spec.id} gives {scheduler.dimensions} dimensions", field="dimensions")
        return scheduler.spec.id, scheduler.dimensions

    async def _embed(self, collection: Collection, texts: Sequence[str], fields: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of a collection's space, float32 `[texts, dimensions]`."""
        try:
            scheduler = self._embedders.get(collection.space)
        except NotFound:
            raise FailedPrecondition(
                f"no model of the space {collection.space!r} is loaded: send an embedding", field=fields[0]
            ) from None
        return np.stack([text.vector for text in await scheduler.embed(texts, fields)])


async def build(settings: RetrievalSettings, telemetry: Telemetry) -> ServiceSpec:
    """Load the profile's models and give each its engines.

    Raises:
        FailedPrecondition: Weights are missing, or need more memory than is allowed.
    """
    schedulers: list[EmbedScheduler] = []
    tensors: dict[str, TensorScheduler] = {}
    for spec in specs(settings, "retrieval", telemetry):
        model: TextEmbedder = await load(spec, settings, RUNTIMES, telemetry)
        schedulers.append(EmbedScheduler(spec, model, telemetry, settings))
        network = spec.model_copy(update={"id": f"{spec.id}-network"})  # metrics of its own
        tensors[spec.id] = TensorScheduler(network, [model.backend] * settings.engines, telemetry)
    database = Database(settings.database_url.get_secret_value(), settings.database_connections)
    store = Store(database)

    async def stop() -> None:
        await store.stop()
        await database.stop()

    return ServiceSpec(
        add=add_RetrievalServiceServicer_to_server,
        servicer=RetrievalService(Models(schedulers), store),
        descriptor=pb.DESCRIPTOR.services_by_name["RetrievalService"],
        schedulers=schedulers,
        tensors=tensors,
        ready=lambda: database.ready,
        start=database.start,
        stop=stop,
    )
