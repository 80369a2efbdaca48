"""A retrieval service over a dictionary."""

import numpy as np
from polyphony.retrieval.v1 import retrieval_pb2 as retrieval
from polyphony.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceServicer
from polyphony.type.v1.embedding_pb2 import Embedding

from servekit.context import current
from servekit.errors import InvalidArgument, NotFound


class Retrieval(RetrievalServiceServicer):
    """Finds every point of a collection, those that share words with the question first."""

    def __init__(self, orders):
        self.orders = orders
        self.points = {}

    def collection(self, name):
        key = (current().tenant, name)
        if key not in self.points:
            raise NotFound("no such collection", field="collection")
        return self.points[key]

    async def Embed(self, request, context):
        await self.orders.obey("Embed", request)
        rows = np.asarray([[len(entry.text), 1.0] for entry in request.inputs], "<f4")
        tensor = Embedding(data=rows.tobytes(), dtype=Embedding.DTYPE_FLOAT32, shape=rows.shape, space=request.model)
        return retrieval.EmbedResponse(embeddings=tensor, tokens=len(rows), model=request.model)

    async def CreateCollection(self, request, context):
        await self.orders.obey("CreateCollection", request)
        self.points[current().tenant, request.name] = {}
        return retrieval.CreateCollectionResponse(collection=retrieval.Collection(name=request.name))

    async def DescribeCollection(self, request, context):
        await self.orders.obey("DescribeCollection", request)
        found = _matching(self.collection(request.collection), request.filter)
        return retrieval.DescribeCollectionResponse(point_count=len(found))

    async def DeleteCollection(self, request, context):
        await self.orders.obey("DeleteCollection", request)
        if self.points.pop((current().tenant, request.collection), None) is None and not request.allow_missing:
            raise NotFound("no such collection", field="collection")
        return retrieval.DeleteCollectionResponse()

    async def ReplacePoints(self, requests, context):
        config = (await anext(requests)).config
        await self.orders.obey("ReplacePoints", config)
        new = {}
        async for request in requests:
            await self.orders.obey("ReplacePoints.batch", request.batch)
            new |= {point.id: point for point in request.batch.points}
        if len(new) != config.point_count:
            raise InvalidArgument("the stream was cut off", field="config.point_count")
        points = self.collection(config.collection)
        doomed = _matching(points, config.filter)
        for key in doomed:
            del points[key]
        points.update(new)
        return retrieval.ReplacePointsResponse(deleted_count=len(doomed), written_count=len(new))

    async def Search(self, request, context):
        await self.orders.obey("Search", request)
        asked = set(request.text.lower().split())
        scored = [
            retrieval.ScoredPoint(point=point, score=len(asked & set(point.text.lower().split())))
            for point in self.collection(request.collection).values()
        ]
        best = sorted(scored, key=lambda hit: -hit.score)
        return retrieval.SearchResponse(points=best[: request.limit])

    async def Delete(self, request, context):
        await self.orders.obey("Delete", request)
        points = self.collection(request.collection)
        doomed = _matching(points, request.filter)
        for key in doomed:
            del points[key]
        return retrieval.DeleteResponse(deleted_count=len(doomed))


def _matching(points, filters):
    asked = dict(filters).items()
    return [key for key, point in points.items() if asked <= dict(point.metadata).items()]
