"""One process of a fleet, as data."""

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fleet.runner.state import Protocol


@dataclass(frozen=True)
class Process:
    """One process to keep running.

    Attributes:
        name: The name, as in its log file, the status and the settings.
        command: The argument list.
        environment: The complete environment.
        protocol: The protocol of the readiness check.
        host: The host on which it listens.
        port: The port of the readiness check.
        address: The address for callers.
        grpc: The address of its gRPC port, if any.
        metrics: The address of its `/metrics`, if any.
        models: The models that it runs.
        stage: Processes of the highest stage are stopped first.
        user: The user and group id to run as.
        before: A function to call before each start, in a thread.
        after: A function to await after each start; then the process counts as running.
        stop_signal: The signal that asks it to exit.
        orphan_signal: The signal that the kernel sends it when the supervisor dies.
        stop_seconds: The time after which it is killed.
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
