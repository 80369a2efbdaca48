"""The lag of the event loop: how late a timer runs while something holds the loop or the interpreter lock."""

import asyncio
import time
from collections.abc import Callable

from servekit.ops.telemetry import Telemetry

INTERVAL_SECONDS = 0.025


class LoopLag:
    """Measures the running event loop until it is stopped.

    A timer that runs late was held up by a callback, by a thread that kept the interpreter lock, or by other processes
    on the same cores. The CPU time of this process tells these apart: it grows in the first two cases only.

    Args:
        telemetry: Receives the measurements.
        clock: Returns the time in seconds.
        cpu_clock: Returns the CPU time of this process in seconds.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._lag, self._busy = telemetry.event_loop_lag, telemetry.event_loop_busy
        self._clock, self._cpu_clock = clock, cpu_clock
        self._watching = asyncio.create_task(self._watch())

    def stop(self) -> None:
        """Stop measuring."""
        self._watching.cancel()

    async def _watch(self) -> None:
        while True:
            due, cpu = self._clock() + INTERVAL_SECONDS, self._cpu_clock()
            await asyncio.sleep(INTERVAL_SECONDS)
            lag = max(0.0, self._clock() - due)
            self._lag.observe(lag)
            self._busy.observe(min(lag, self._cpu_clock() - cpu))
