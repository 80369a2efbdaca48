"""TCP ports of this machine: a free one, and who has taken one."""

import socket
from collections.abc import Iterable

import psutil

from fleet.cli.errors import FleetError


def free() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check(wanted: Iterable[tuple[str, int, str]]) -> None:
    """See that nobody listens on the ports: rows of host, port, and the setting that chooses another.

    Raises:
        FleetError: Some are taken; the text names the process that has each and the setting.
    """
    taken = [
        f"port {port} is taken by {_holder(port)}: stop it, or choose another port by {setting}"
        for host, port, setting in wanted
        if _is_taken(host, port)
    ]
    if taken:
        raise FleetError("\n".join(taken))


def _is_taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not count
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
