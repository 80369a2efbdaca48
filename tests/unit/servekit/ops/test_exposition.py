"""Metrics as text: one thread renders them, however many scrape."""

import asyncio
import socket
import threading
import urllib.request

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from servekit.ops import exposition
from servekit.ops.exposition import Exposition

OPEN_METRICS = "application/openmetrics-text"


class Collector:
    """Counts how often it is read, and by which threads; waits for `go` where it is set to."""

    def __init__(self):
        self.threads, self.go, self.reading = [], threading.Event(), threading.Event()
        self.go.set()

    def collect(self):
        self.threads.append(threading.current_thread())
        self.reading.set()
        assert self.go.wait(20)
        yield GaugeMetricFamily("readings", "Readings.", value=len(self.threads))


@pytest.fixture
def collector():
    return Collector()


@pytest.fixture
def metrics(collector, monkeypatch):
    monkeypatch.setattr(exposition, "INTERVAL_SECONDS", 0.0)
    registry = CollectorRegistry()
    registry.register(collector)
    collector.threads.clear()
    collector.reading.clear()
    metrics = Exposition(registry)
    yield metrics
    metrics.close()


async def test_scrapers_that_wait_together_share_a_rendering(metrics, collector):
    collector.go.clear()
    first = asyncio.create_task(metrics.get(""))
    await asyncio.to_thread(collector.reading.wait, 20)
    others = [asyncio.create_task(metrics.get("")) for _ in range(50)]
    await asyncio.sleep(0)
    collector.go.set()
    assert b"readings 1.0" in (await first)[0]
    texts = {text for text, _ in await asyncio.gather(*others)}
    assert len(texts) == 1
    assert b"readings 2.0" in texts.pop()
    assert len(collector.threads) == 2
    assert threading.main_thread() not in collector.threads


async def test_a_scrape_has_no_values_from_before_it_arrived(metrics):
    texts = [(await metrics.get(accept))[0] for accept in ("", "", OPEN_METRICS, "")]
    assert [f"readings {number}.0".encode() in text for number, text in enumerate(texts, 1)] == [True] * 4


async def test_renderings_are_at_least_an_interval_apart(metrics, monkeypatch):
    slept = []
    monkeypatch.setattr(exposition, "INTERVAL_SECONDS", 60.0)
    monkeypatch.setattr(exposition.time, "sleep", slept.append)
    await metrics.get("")
    await metrics.get(OPEN_METRICS)
    assert 50 < slept[-1] <= 60


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(("accept", "media_type"), [("*/*", "text/plain"), (OPEN_METRICS, OPEN_METRICS)])
def test_a_port_of_its_own_serves_both_formats(metrics, host, accept, media_type):
    server = metrics.serve(host, 0)
    address = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(f"http://{address}:{server.server_port}/metrics", headers={"accept": accept})
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.headers["content-type"].startswith(media_type)
        assert b"readings 1.0" in response.read()
    server.shutdown()
    server.server_close()


def test_a_connection_without_a_request_is_closed(metrics, monkeypatch):
    monkeypatch.setattr(exposition._Handler, "timeout", 0.1)
    server = metrics.serve("127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as idle:
        assert idle.recv(1) == b""
    server.shutdown()
    server.server_close()
