"""SIGKILL to each process of the fleet but its supervisor, one after another."""

import math
import os
import signal

import httpx

from drill.requests import samples, status_code, wait_for, wait_until_ready
from drill.result import DrillResult
from fleet.temporary import TemporaryFleet

PROMISE = "A killed process is restarted; until then its own requests get 503 and those of other services are answered."
SHORT = True
RESTART_SECONDS = 60.0


def run(fleet: TemporaryFleet) -> DrillResult:
    """Kill each process and wait until it serves again."""
    rows = fleet.status()
    gateway = rows["gateway"]["address"]
    other = {name: next(one for one in samples() if one != name) for name in samples()}
    recovered, broken = {}, []
    for name, row in rows.items():
        if name == "supervisor":
            continue
        os.kill(row["pid"], signal.SIGKILL)
        if name in samples():
            refused, served = status_code(gateway, name), status_code(gateway, other[name])
            if refused != 503:
                broken.append(f"{name} killed: its request got {refused}")
            if served != 200:
                broken.append(f"{name} killed: a request to {other[name]} got {served}")
        recovered[name] = wait_for(lambda: _is_healthy(gateway), RESTART_SECONDS)
        recovered[name] += wait_until_ready(fleet, RESTART_SECONDS)
        if math.isinf(recovered[name]):
            broken.append(f"{name} did not serve again within {RESTART_SECONDS:g} s")
    happened = "; ".join(broken) or "served again after " + ", ".join(
        f"{seconds:.1f} s ({name})" for name, seconds in recovered.items()
    )
    return DrillResult(happened, not broken)


def _is_healthy(gateway: str) -> bool:
    try:
        return bool(httpx.get(f"{gateway}/readyz", timeout=5).json()["status"] == "ready")
    except (httpx.HTTPError, ValueError):
        return False
