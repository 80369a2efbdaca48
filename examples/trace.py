"""One composed request as a trace: where each millisecond went, from HTTP to the engines.

Receives OpenTelemetry's protocol, starts the fleet so that it sends its spans here, asks it one question made of a
photograph, a recording and words, and prints the spans that arrive as a tree.

    polyphony down; python examples/trace.py [127.0.0.1:4317]
"""

import base64
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import skimage.data
from openai import OpenAI
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from examples.demo import POLYPHONY, gateway

QUESTION = "According to the page, what are the markers?"
PATIENCE_SECONDS = 30.0
QUIET_SECONDS = 3.0  # a process sends its spans every second
NAME_WIDTH = 42
TOLD = ("model", "batch_size", "batch_cost")


@dataclass(frozen=True)
class Sent:
    """A span, and the process that sent it."""

    process: str
    span: Span


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span that it is sent."""

    def __init__(self) -> None:
        self.received: list[Sent] = []

    def Export(self, request: Any, _: Any) -> trace_service_pb2.ExportTraceServiceResponse:
        """Of the protocol: take a batch of spans."""
        for resource in request.resource_spans:
            process = next(row.value.string_value for row in resource.resource.attributes if row.key == "service.name")
            for scope in resource.scope_spans:
                self.received += [Sent(process.removeprefix("polyphony-"), span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait_for_a_sender(self, url: str) -> None:
        """Give the gateway something to send until something comes."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.received:
            if time.monotonic() > end:
                raise SystemExit("nothing arrives: the fleet ran before; `polyphony down` first")
            httpx.get(f"{url}/healthz")
            time.sleep(0.5)

    def wait_for(self, trace_id: str) -> list[Sent]:
        """The spans of a trace, once some have come and no more do."""
        changed = time.monotonic()
        mine: list[Sent] = []
        while not mine or time.monotonic() < changed + QUIET_SECONDS:
            before, mine = mine, [sent for sent in self.received if sent.span.trace_id.hex() == trace_id]
            changed = changed if len(mine) == len(before) else time.monotonic()
            time.sleep(0.1)
        return mine


def tree(sent: Iterable[Sent]) -> Tree:
    """The spans of one trace, each under the one that it happened in, in the order of their beginnings.

    One whose parent was not sent here, such as the caller's, stands at the top.
    """
    spans = sorted(sent, key=lambda each: each.span.start_time_unix_nano)
    known = {each.span.span_id for each in spans}
    began = spans[0].span.start_time_unix_nano
    head = Tree(Text(f"{'span':<{NAME_WIDTH}}{'process':<12}{'from ms':>10}{'for ms':>10}", style="bold"))

    def grow(branch: Tree, under: bytes | None, depth: int) -> None:
        for each in spans:
            parent = each.span.parent_span_id if each.span.parent_span_id in known else None
            if parent == under:
                grow(branch.add(_line(each, began, depth)), each.span.span_id, depth + 1)

    grow(head, None, 1)
    return head


def _line(sent: Sent, began: int, depth: int) -> Text:
    span = sent.span
    start, length = span.start_time_unix_nano - began, span.end_time_unix_nano - span.start_time_unix_nano
    told = {row.key: row.value for row in span.attributes if row.key in TOLD}
    line = Text(f"{span.name:<{NAME_WIDTH - 4 * depth}}{sent.process:<12}{start / 1e6:>10.1f}{length / 1e6:>10.1f}")
    return line.append("".join(f"  {key}={_value(told[key])}" for key in TOLD if key in told), style="dim")


def _value(value: Any) -> str:
    given = getattr(value, value.WhichOneof("value"))
    return f"{given:.2f}" if isinstance(given, float) else str(given)


@contextmanager
def receiving(address: str) -> Iterator[Receiver]:
    """A receiver that listens at `host:port`."""
    receiver, server = Receiver(), grpc.server(ThreadPoolExecutor(8))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    server.add_insecure_port(address)
    server.start()
    yield receiver
    server.stop(0).wait()


def ask(url: str) -> tuple[str, str]:
    """Ask one question of three media; the id of the trace that it began, and the answer."""
    page = (Path(skimage.data.__file__).parent / "page.png").read_bytes()
    with OpenAI(base_url=f"{url}/v1", api_key="none", timeout=180, max_retries=0) as client:
        audio = client.audio.speech.create(model="tts-1", voice="default", input=QUESTION, response_format="wav")
        trace_id = secrets.token_hex(16)
        content: list[Any] = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_base64(page)}"}},
            {"type": "input_audio", "input_audio": {"data": _base64(audio.content), "format": "wav"}},
            {"type": "text", "text": "Answer the spoken question in one sentence."},
        ]
        answer = client.chat.completions.create(
            model="",  # the default
            messages=[{"role": "user", "content": content}],
            extra_headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"},
        )
    return trace_id, answer.choices[0].message.content or ""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    """Ask, then print the tree."""
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:4317"
    with receiving(address) as receiver:
        environment = os.environ | {"POLYPHONY_OTLP_ENDPOINT": f"http://{address}"}
        subprocess.run([POLYPHONY, "up"], env=environment, check=True)
        url = gateway()
        receiver.wait_for_a_sender(url)
        trace_id, answer = ask(url)
        spans = receiver.wait_for(trace_id)
    console = Console(width=150)
    console.print(f"\n{answer}\n\ntrace {trace_id}", highlight=False)
    console.print(tree(spans))


if __name__ == "__main__":
    main()
