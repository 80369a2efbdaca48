"""The default ports of every process, from `catalogue/ports.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Ports:
    """The default ports of one process.

    Attributes:
        grpc: The gRPC port.
        metrics: The port of `/metrics`.
        health: The plaintext port for health, used where gRPC speaks TLS.
        http: The HTTP port; 0 for a process without one.
    """

    grpc: int
    metrics: int
    health: int
    http: int = 0


PORTS: Mapping[str, Ports] = {
    process: Ports(**row)
    for process, row in tomllib.loads(files("catalogue").joinpath("ports.toml").read_text()).items()
}
