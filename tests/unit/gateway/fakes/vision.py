"""Reads what it is told to."""

from polyphony.vision.v1 import vision_pb2 as vision
from polyphony.vision.v1.vision_pb2_grpc import VisionServiceServicer

from servekit.errors import UnsupportedMedia


class Vision(VisionServiceServicer):
    def __init__(self, orders):
        self.orders = orders

    async def ReadText(self, request, context):
        await self.orders.obey("ReadText", request)
        if request.image.inline == b"not an image":
            raise UnsupportedMedia("not an image", field="image.inline")
        lines = [vision.TextLine(text=line, confidence=0.9) for line in self.orders.page.splitlines()]
        return vision.ReadTextResponse(lines=lines, width=10, height=20, model=request.model)
