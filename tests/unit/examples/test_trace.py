"""The tree of a trace."""

import re

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from rich.console import Console

from examples.trace import Sent, tree

MS = 1_000_000


def sent(process, name, identity, parent, start, end, **attributes):
    rows = [KeyValue(key=key, value=value) for key, value in attributes.items()]
    span = Span(
        name=name, span_id=identity.encode(), parent_span_id=parent.encode(), attributes=rows,
        start_time_unix_nano=start * MS, end_time_unix_nano=end * MS,
    )  # fmt: skip
    return Sent(process, span)


def test_each_span_stands_under_the_one_it_happened_in_in_the_order_of_time():
    told = {"model": AnyValue(string_value="m"), "batch_size": AnyValue(int_value=3), "other": AnyValue(int_value=1)}
    spans = [
        sent("vision", "engine", "e", "r", 1030, 1090, batch_cost=AnyValue(double_value=1.234), **told),
        sent("generation", "GenerateText", "g", "h", 1100, 1400),
        sent("gateway", "POST /chat", "h", "caller", 1000, 1500),
        sent("vision", "queue", "q", "r", 1020, 1030),
        sent("vision", "ReadText", "r", "h", 1010, 1095),
    ]
    console = Console(width=130)
    with console.capture() as capture:
        console.print(tree(spans))
    head, *lines = capture.get().splitlines()
    assert head.split() == ["span", "process", "from", "ms", "for", "ms"]
    assert [line.split() for line in lines] == [
        ["└──", "POST", "/chat", "gateway", "0.0", "500.0"],
        ["├──", "ReadText", "vision", "10.0", "85.0"],
        ["│", "├──", "queue", "vision", "20.0", "10.0"],
        ["│", "└──", "engine", "vision", "30.0", "60.0", "model=m", "batch_size=3", "batch_cost=1.23"],
        ["└──", "GenerateText", "generation", "100.0", "300.0"],
    ]
    assert len({re.search(r" [\d.]+ +[\d.]+", line).end() for line in lines}) == 1  # the columns stand in line


def test_what_has_no_parent_here_stands_at_the_top():
    console = Console(width=130)
    with console.capture() as capture:
        console.print(tree([sent("gateway", "two", "b", "", 20, 30), sent("gateway", "one", "a", "gone", 10, 20)]))
    assert [line[4:7] for line in capture.get().splitlines()[1:]] == ["one", "two"]
