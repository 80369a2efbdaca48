"""SIGKILL to each process but the supervisor, one after another."""

import math
import os
import signal
from functools import partial

from drill.requests import is_ready, samples, status_code, wait_for
from drill.result import DrillResult
from fleet.temporary import TemporaryFleet

PROMISE = "A killed process is restarted; until then its own requests get 503 and those of other services are answered."
SHORT = True


def run(fleet: TemporaryFleet) -> DrillResult:
    """Kill each process and wait until it serves again."""
    broken: list[str] = []
    recovered: dict[str, float] = {}
    for name, process in fleet.processes().items():
        pid = process.pid or 0
        os.kill(pid, signal.SIGKILL)
        if name in samples():
            other = next(service for service in samples() if service != name)
            refused, served = status_code(fleet, name), status_code(fleet, other)
            if refused != 503:
                broken.append(f"{name} killed: its request got {refused}")
            if served != 200:
                broken.append(f"{name} killed: a request to {other} got {served}")
        recovered[name] = wait_for(partial(_is_replaced, fleet, name, pid))
    broken += [f"{name} did not serve again" for name, seconds in recovered.items() if math.isinf(seconds)]
    figures = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in recovered.items())
    return DrillResult("; ".join(broken) or f"served again: {figures}", not broken)


def _is_replaced(fleet: TemporaryFleet, name: str, pid: int) -> bool:
    return fleet.processes()[name].pid not in (None, pid) and is_ready(fleet)
