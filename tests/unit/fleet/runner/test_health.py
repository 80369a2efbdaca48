"""Whether a process serves, and a gateway with those behind it."""

import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from fleet.runner.health import all_ready, probe
from fleet.runner.state import ProcessState

FOUND = {"vision": "not_serving", "speech": "not_serving"}


class Gateway(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"status": "degraded", "services": FOUND}).encode())

    def log_message(self, *told: object) -> None:
        """Nothing."""


def process(name: str, protocol: str, port: int) -> ProcessState:
    return ProcessState(name=name, protocol=protocol, host="127.0.0.1", port=port, address="a", state="running")


@pytest.fixture
def gateway() -> Iterator[ProcessState]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever).start()
        yield process("gateway", "http", server.server_port)
        server.shutdown()


@pytest.fixture
async def vision() -> AsyncIterator[ProcessState]:
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield process("vision", "grpc", port)
    await server.stop(0)


async def test_a_gateway_that_has_not_found_a_service_is_ready_unless_it_has_to(
    gateway: ProcessState, vision: ProcessState, monkeypatch: pytest.MonkeyPatch
):
    both = [vision, gateway]
    assert await all_ready(both) == {"vision": True, "gateway": True}
    assert await all_ready(both, ["vision"]) == {"vision": True, "gateway": False}
    monkeypatch.setitem(FOUND, "vision", "serving")
    assert await all_ready(both, ["vision"]) == {"vision": True, "gateway": True}


@pytest.mark.parametrize("protocol", ["grpc", "http", "postgres"])
async def test_a_process_that_accepts_connections_and_answers_nothing_is_silent(protocol: str):
    with socket.create_server(("127.0.0.1", 0)) as hung:
        port = hung.getsockname()[1]
        assert await probe(process("hung", protocol, port), 0.5) == "silent"
    assert await probe(process("closed", protocol, port), 5) == "refused"


async def test_any_answer_counts_as_alive(gateway: ProcessState, vision: ProcessState):
    assert await probe(gateway, 5) == "serving"
    assert await probe(vision, 5) == "serving"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"N")

        threading.Thread(target=answer).start()
        assert await probe(process("postgres", "postgres", server.getsockname()[1]), 5) == "serving"


async def test_a_service_that_is_not_serving_is_not_silent():
    server, servicer = grpc.aio.server(), health.aio.HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    assert await probe(process("vision", "grpc", port), 5) == "not_serving"
    await server.stop(0)
