"""A gateway over fake services within the process of the test."""

import grpc
import httpx
import pytest
from polyphony.generation.v1.generation_pb2_grpc import add_GenerationServiceServicer_to_server
from polyphony.retrieval.v1.retrieval_pb2_grpc import add_RetrievalServiceServicer_to_server
from polyphony.vision.v1.vision_pb2_grpc import add_VisionServiceServicer_to_server

from gateway.app import build_app
from gateway.app_state import AppState
from gateway.clients import Clients
from gateway.settings import GatewaySettings
from servekit.ops.telemetry import Telemetry
from servekit.rpc.contract import handlers
from servekit.rpc.interceptor import CallInterceptor

from .fakes.generation import Generation
from .fakes.orders import Orders
from .fakes.retrieval import Retrieval
from .fakes.speech import SERVICES, Speech
from .fakes.vision import Vision


class Shelf:
    """Returns the pages that a test has put there."""

    def __init__(self):
        self.pages = {}

    async def fetch(self, url, field):
        return self.pages[url]


@pytest.fixture
def orders():
    return Orders()


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def settings(tmp_path):
    return GatewaySettings(home=tmp_path, profile="fake", max_inline_media_bytes=1 << 16, database_url="memory:")


@pytest.fixture
def retrieval(orders):
    return Retrieval(orders)


@pytest.fixture
async def services(orders, settings, retrieval):
    """The services' address."""
    server = grpc.aio.server(interceptors=[CallInterceptor(Telemetry(settings), {})])
    add_VisionServiceServicer_to_server(Vision(orders), server)
    speech = Speech(orders)
    server.add_generic_rpc_handlers(tuple(handlers(service, speech) for service in SERVICES))
    add_GenerationServiceServicer_to_server(Generation(orders), server)
    add_RetrievalServiceServicer_to_server(retrieval, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


@pytest.fixture
async def build(services, settings, shelf):
    """Puts a gateway together, with other settings if they are given."""
    clients = []

    def build(**changes):
        targets = dict.fromkeys(("vision_target", "speech_target", "generation_target", "retrieval_target"), services)
        own = settings.model_copy(update=targets | changes)
        telemetry = Telemetry(own)
        clients.append(Clients.connect(own, telemetry))
        return AppState.build(own, telemetry, clients[-1], shelf)

    yield build
    for client in clients:
        await client.close()


@pytest.fixture
def state(build):
    return build()


@pytest.fixture
async def http(state):
    transport = httpx.ASGITransport(build_app(state))
    headers = {"x-polyphony-timeout": "5"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client
