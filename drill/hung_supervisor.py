"""SIGSTOP and SIGCONT to the supervisor."""

import os
import signal
import time

from drill.requests import samples, status_code
from drill.result import DrillResult
from fleet.runner import state
from fleet.temporary import TemporaryFleet

PROMISE = "While the supervisor hangs every service answers, and afterwards it restarts none of them."
SHORT = True
SETTLE_SECONDS = 3.0  # more than one liveness period


def run(fleet: TemporaryFleet) -> DrillResult:
    """Stop the supervisor, send requests, and continue it."""
    before = {name: process.pid for name, process in fleet.processes().items()}
    supervisor = state.read(fleet.home / "run").pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        codes = {service: status_code(fleet, service) for service in samples()}
    finally:
        os.kill(supervisor, signal.SIGCONT)
    time.sleep(SETTLE_SECONDS)
    after = {name: process.pid for name, process in fleet.processes().items()}
    restarted = [name for name in before if after[name] != before[name]]
    answers = ", ".join(f"{service} {code}" for service, code in codes.items())
    happened = f"answers: {answers}; restarted: {', '.join(restarted) or 'none'}"
    return DrillResult(happened, not restarted and set(codes.values()) == {200})
