"""The metrics of a process as text, for Prometheus."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

INTERVAL_SECONDS = 0.1
"""Time from one rendering to the next. One takes 10 ms, in Python: a thread for each of many scrapers would keep the
event loop waiting for the interpreter lock."""

IDLE_SECONDS = 10.0  # after which a connection without a request is closed


class Exposition:
    """Renders metrics in one thread. Scrapers that wait for a rendering at the same time share it.

    Args:
        registry: The metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._thread = ThreadPoolExecutor(1, "metrics")
        self._began = 0.0
        self._rendered: dict[str, tuple[float, bytes]] = {}

    async def get(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their media type, plain text or OpenMetrics by the `Accept` header of a scraper."""
        return await asyncio.wrap_future(self._thread.submit(self._get, accept, time.monotonic()))

    def serve(self, host: str, port: int) -> WSGIServer:
        """Answer scrapers on a port of their own, 0 for a free one, until the server is shut down.

        Raises:
            OSError: The process cannot listen on the address.
        """

        def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            accept = environ.get("HTTP_ACCEPT", "")
            text, media_type = self._thread.submit(self._get, accept, time.monotonic()).result()
            start_response("200 OK", [("Content-Type", media_type)])
            return [text]

        server_class = _Server6 if ":" in host else _Server
        server = make_server(host, port, answer, server_class, _Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _get(self, accept: str, arrived: float) -> tuple[bytes, str]:
        encode, media_type = choose_encoder(accept)
        began, text = self._rendered.get(media_type, (0.0, b""))
        if began < arrived:
            time.sleep(max(0.0, self._began + INTERVAL_SECONDS - time.monotonic()))
            self._began = time.monotonic()
            text = encode(self._registry)
            self._rendered[media_type] = self._began, text
        return text, media_type


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = IDLE_SECONDS

    def log_message(self, *_: object) -> None:
        """Log nothing: there is a scrape every few seconds."""
