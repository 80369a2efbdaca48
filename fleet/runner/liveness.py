"""Liveness: when a process that runs counts as hung."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from fleet.runner import health
from fleet.runner.health import Health
from fleet.runner.process import Process
from fleet.settings import FleetSettings

LATE_SECONDS = 1.0  # a check that exceeds its timeout by this means that the supervisor itself got no CPU time

Probe = Callable[[Process, float], Awaitable[Health]]


async def until_hung(process: Process, settings: FleetSettings, probe: Probe = health.probe) -> float:
    """Return once a process has answered none of several consecutive health checks; returns the seconds of silence.

    Only silence counts, not what is answered: a process that is busy, not ready or draining does not hang. Silence
    does not count while a process starts, which is until it was serving or the grace time has passed, nor where the
    supervisor was late itself.
    """
    started, served = time.monotonic(), False
    silent: list[float] = []
    while not 0 < settings.liveness_failure_threshold <= len(silent):
        await asyncio.sleep(settings.liveness_period_seconds)
        began = time.monotonic()
        found = await probe(process, settings.liveness_timeout_seconds)
        late = time.monotonic() - began > settings.liveness_timeout_seconds + LATE_SECONDS
        if found != "silent":
            silent.clear()
            served = served or found == "serving"
        elif not late and (served or began - started > settings.liveness_grace_seconds):
            silent.append(began)
    return time.monotonic() - silent[0]
