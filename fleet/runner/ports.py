"""TCP ports of this machine: free ones and those in use."""

import os
import socket
from collections.abc import Collection, Iterable
from pathlib import Path

import psutil

from fleet.errors import FleetError

LOWEST = 10_000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
BLOCK = 64  # ports, more than a fleet has


def free(chosen: Collection[int] = ()) -> int:
    """A port on which no process listens now, and which no outgoing connection takes before it is used.

    The search begins at another port in each process, so that fleets that start at the same time choose different ones.

    Args:
        chosen: Ports that are not to be returned.

    Raises:
        FleetError: No port is free.
    """
    count = _lowest_ephemeral() - LOWEST
    for offset in range(count):
        port = LOWEST + (os.getpid() * BLOCK + offset) % count
        if port not in chosen and not _is_taken("127.0.0.1", port):
            return port
    raise FleetError(f"no port between {LOWEST} and {LOWEST + count} is free")


def _lowest_ephemeral() -> int:
    """The lowest port that the kernel gives to an outgoing connection."""
    lowest = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.exists() else 32_768
    return lowest if lowest > LOWEST + BLOCK else 32_768


def check(wanted: Iterable[tuple[str, int, str]]) -> None:
    """Check that no process listens on the ports: rows of host, port, and the setting that selects another.

    Raises:
        FleetError: Some are in use; the text names the process and the setting of each.
    """
    taken = [
        f"port {port} is in use by {_holder(port)}: stop it, or select another port with {setting}"
        for host, port, setting in wanted
        if _is_taken(host, port)
    ]
    if taken:
        raise FleetError("\n".join(taken))


def _is_taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections do not count
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return True
    return False


def _holder(port: int) -> str:
    for row in psutil.net_connections("tcp"):
        if row.status == psutil.CONN_LISTEN and tuple(row.laddr)[1:] == (port,) and row.pid:
            try:
                process = psutil.Process(row.pid)
                return f"process {row.pid} ({' '.join(process.cmdline())[:80] or process.name()})"
            except psutil.Error:
                continue
    return "another user's process"
