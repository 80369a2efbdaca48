"""The script of the fake services, and a record of their calls."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from polyphony.speech.v1 import voices_pb2 as voices_pb

from servekit.context import current
from servekit.errors import ServeError


@dataclass
class Orders:
    """The duration and the error of each call, the content of the answers, and the calls so far."""

    seconds: dict[str, float] = field(default_factory=dict)
    fail: dict[str, ServeError] = field(default_factory=dict)
    seen: list[tuple[str, str, object]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    arrived: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    left: asyncio.Event = field(default_factory=asyncio.Event)
    page: str = "Total: 42 euros"
    words: str = "What is the total?"
    answer: tuple[str, ...] = ("It is ", "42.")
    voices: list[voices_pb.Voice] = field(default_factory=list)

    async def obey(self, name, request):
        self.seen.append((name, current().tenant, request))
        self.arrived[name].set()
        try:
            await asyncio.sleep(self.seconds.get(name, 0))
        except asyncio.CancelledError:
            self.cancelled.append(name)
            self.left.set()
            raise
        if name in self.fail:
            raise self.fail[name]

    def requests(self, name):
        return [request for seen, _, request in self.seen if seen == name]
