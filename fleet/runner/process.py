"""One process of a fleet, as data."""

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fleet.runner.state import Protocol


@dataclass(frozen=True)
class Process:
    """One process to keep running.

    Attributes:
        name: Its name in the log's file name, the status and the settings.
        command: Its argument list.
        environment: Its whole environment.
        protocol: How to ask whether it is ready.
        host: Where it listens.
        port: The port that is asked whether it is ready.
        address: What a caller uses.
        grpc: Where it speaks gRPC, if it does.
        metrics: Where its `/metrics` is, if it has any.
        models: The models it runs.
        stage: Processes of the highest stage are stopped first.
        user: The user and group id to run as.
        before: Done before each start, in a thread.
        after: Done after each start; the process counts as running once it returns.
        stop_signal: Asks it to finish.
        orphan_signal: What the kernel sends it when the supervisor dies.
        stop_seconds: How long it may take to finish.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    protocol: Protocol
    host: str
    port: int
    address: str = ""
    grpc: str = ""
    metrics: str = ""
    models: tuple[str, ...] = ()
    stage: int = 1
    user: tuple[int, int] | None = None
    before: Callable[[], None] = field(default=lambda: None)
    after: Callable[[], Awaitable[None]] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    stop_seconds: float = 35.0
