"""SIGSTOP: processes that hold their ports and answer nothing."""

import math
import os
import signal

from drill.requests import is_ready, status_code, wait_for
from drill.result import DrillResult
from fleet.temporary import TemporaryFleet

PROMISE = (
    "A hung process is ended and restarted; until then other services answer, and its callers get an error in time."
)
SHORT = True
DEADLINE_SECONDS = 2.0


def run(fleet: TemporaryFleet) -> DrillResult:
    """Stop a service, and then the gateway and Postgres as well."""
    before = fleet.processes()
    os.kill(before["vision"].pid or 0, signal.SIGSTOP)
    broken = []
    refused = status_code(fleet, "vision", DEADLINE_SECONDS)
    if refused not in (503, 504):
        broken.append(f"a request to the hung service got {refused}")
    for service in ("speech", "generation", "retrieval"):
        if (served := status_code(fleet, service)) != 200:
            broken.append(f"a request to {service} got {served}")
    stopped = [name for name in ("vision", "gateway", "postgres") if name in before]
    for name in stopped[1:]:
        os.kill(before[name].pid or 0, signal.SIGSTOP)

    def recovered() -> bool:
        now = fleet.processes()
        return all(now[name].pid not in (None, before[name].pid) for name in stopped) and is_ready(fleet)

    seconds = wait_for(recovered)
    if math.isinf(seconds):
        broken.append(f"not all of {', '.join(stopped)} served again")
    happened = f"the request to vision got {refused}; {', '.join(stopped)} served again after {seconds:.1f} s"
    return DrillResult("; ".join(broken) or happened, not broken)
