"""Answers what it is told to."""

from polyphony.generation.v1 import generation_pb2 as text
from polyphony.generation.v1.generation_pb2_grpc import GenerationServiceServicer


class Generation(GenerationServiceServicer):
    def __init__(self, orders):
        self.orders = orders

    async def GenerateText(self, request, context):
        await self.orders.obey("GenerateText", request)
        yield text.GenerateTextResponse(started=text.TextStarted(model=request.model))
        for piece in self.orders.answer:
            yield text.GenerateTextResponse(delta=piece)
            await self.orders.obey("token", request)
        usage = text.TokenUsage(prompt_tokens=7, completion_tokens=2)
        yield text.GenerateTextResponse(finished=text.TextFinished(reason=text.TextFinished.REASON_STOP, usage=usage))
