"""TCP ports of this machine: free ones and those in use."""

import socket
from collections.abc import Iterable

import psutil

from fleet.errors import FleetError


def free() -> int:
    """A port on which no process listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
