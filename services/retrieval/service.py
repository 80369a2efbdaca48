"""The retrieval service: its RPCs, and what does each."""

from collections.abc import AsyncIterator

from polyphony.retrieval.v1 import retrieval_pb2 as pb
from polyphony.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceServicer

from servekit.ops.telemetry import Telemetry
from servekit.rpc.server import ServiceSpec
from servekit.tasks.loading import load_models
from services.retrieval.collections import Collections
from services.retrieval.embed.embed import Embedders
from services.retrieval.points import Points
from services.retrieval.replacements import Replacements
from services.retrieval.settings import RetrievalSettings
from services.retrieval.stores import VectorStore, open_store
from services.retrieval.tasks import tasks


class RetrievalService(RetrievalServiceServicer):
    """`polyphony.retrieval.v1.RetrievalService`.

    Args:
        embedders: The models that embed texts.
        store: The store of the collections; None for a service that only embeds.
        max_replacement_bytes: The most bytes of new points that the calls of ReplacePoints hold together.
    """

    def __init__(self, embedders: Embedders, store: VectorStore | None, max_replacement_bytes: int) -> None:
        self._embedders = embedders
        self._collections = Collections(embedders, store)
        self._points = Points(self._collections)
        self._replacements = Replacements(self._collections, max_replacement_bytes)

    async def Embed(self, request: pb.EmbedRequest, context: object) -> pb.EmbedResponse:
        return await self._embedders.embed(request)

    async def CreateCollection(
        self, request: pb.CreateCollectionRequest, context: object
    ) -> pb.CreateCollectionResponse:
        return await self._collections.create(request)

    async def DescribeCollection(
        self, request: pb.DescribeCollectionRequest, context: object
    ) -> pb.DescribeCollectionResponse:
        return await self._collections.describe(request)

    async def ListCollections(self, request: pb.ListCollectionsRequest, context: object) -> pb.ListCollectionsResponse:
        return await self._collections.list(request)

    async def DeleteCollection(
        self, request: pb.DeleteCollectionRequest, context: object
    ) -> pb.DeleteCollectionResponse:
        return await self._collections.delete(request)

    async def Upsert(self, request: pb.UpsertRequest, context: object) -> pb.UpsertResponse:
        return await self._points.upsert(request)

    async def ReplacePoints(
        self, requests: AsyncIterator[pb.ReplacePointsRequest], context: object
    ) -> pb.ReplacePointsResponse:
        return await self._replacements.replace(requests)

    async def Search(self, request: pb.SearchRequest, context: object) -> pb.SearchResponse:
        return await self._points.search(request)

    async def Delete(self, request: pb.DeleteRequest, context: object) -> pb.DeleteResponse:
        return await self._points.delete(request)


async def build(settings: RetrievalSettings, telemetry: Telemetry) -> ServiceSpec:
    """Load the profile's models, and build what serves them.

    Raises:
        FailedPrecondition: See `load_models`; no store has the URL's scheme.
    """
    models = await load_models(tasks(settings), settings, telemetry)
    store = open_store(settings.database_url.get_secret_value(), settings.max_database_connections)
    runs = {"start": store.start, "stop": store.stop} if store else {}
    return ServiceSpec(
        servicer=RetrievalService(
            Embedders(models["embed"], settings.max_text_characters), store, settings.max_replacement_bytes
        ),
        services=[pb.DESCRIPTOR.services_by_name["RetrievalService"]],
        models=models,
        ready=lambda: store is None or store.ready,
        **runs,
    )
