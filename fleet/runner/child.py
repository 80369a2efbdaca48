"""A supervised process: it is started, restarted when it exits, and stopped."""

import asyncio
import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fleet.errors import FleetError
from fleet.runner.process import Process
from fleet.runner.state import ProcessState

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
HEALTHY_SECONDS = 60.0
LONGEST_LOG = 16 << 20
PR_SET_PDEATHSIG = 1

logger = logging.getLogger("fleet")
_libc = ctypes.CDLL(None, use_errno=True)


class Child:
    """Keeps one process running until `stop`.

    Args:
        process: The process to run.
        logs_dir: The folder of its log.
        changed: Called whenever `state` changes.
    """

    def __init__(self, process: Process, logs_dir: Path, changed: Callable[[], None]) -> None:
        self.process = process
        self.state = ProcessState(
            name=process.name,
            protocol=process.protocol,
            host=process.host,
            port=process.port,
            address=process.address,
            grpc=process.grpc,
            metrics=process.metrics,
            models=process.models,
        )
        self._log = logs_dir / f"{process.name}.log"
        self._changed = changed
        self._stopping = asyncio.Event()
        self._running: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Run the process and restart it whenever it exits, with exponential backoff while it keeps failing."""
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                reason = await self._run_once()
            except (OSError, FleetError) as error:
                reason = f"could not be started: {error}"
            if self._stopping.is_set():
                break
            failures = 1 if time.monotonic() - started > HEALTHY_SECONDS else failures + 1
            delay = min(FIRST_DELAY * 2 ** (failures - 1), LONGEST_DELAY)
            self._say(f"{self.process.name} {reason}; restarting in {delay:g} s")
            self._set(state="waiting", pid=None, reason=reason, restarts=self.state.restarts + 1)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
        self._set(state="stopped", pid=None)

    async def stop(self) -> None:
        """Send the stop signal; kill the process if it does not exit in time."""
        self._stopping.set()
        running = self._running
        if running is None or running.returncode is not None:
            return
        running.send_signal(self.process.stop_signal)
        try:
            async with asyncio.timeout(self.process.stop_seconds):
                await running.wait()
        except TimeoutError:
            self._say(f"{self.process.name} did not exit within {self.process.stop_seconds:g} s; killing it")
            running.kill()
            await running.wait()

    async def _run_once(self) -> str:
        """Run the process until it exits; returns how it ended."""
        await asyncio.to_thread(self.process.before)
        if self._stopping.is_set():
            return "was not started"
        self._trim_log()
        user = self.process.user
        with self._log.open("ab") as log:
            self._running = await asyncio.create_subprocess_exec(
                *self.process.command,
                env=self.process.environment,
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user and user[0],
                group=user and user[1],
                extra_groups=user and [],
                start_new_session=True,
                preexec_fn=self._die_with_supervisor(),
            )
        self._set(state="starting", pid=self._running.pid, since=time.time())
        if self._stopping.is_set():  # stopped while it was being started
            self._running.kill()
        after = asyncio.create_task(self._after())
        code = await self._running.wait()
        after.cancel()
        return _ended(code)

    async def _after(self) -> None:
        try:
            if self.process.after:
                await self.process.after()
        except FleetError as error:
            self._say(f"{self.process.name} runs but is not usable: {error}")
        else:
            self._set(state="running")

    def _die_with_supervisor(self) -> Callable[[], None]:
        """A function for the new process before exec: it asks the kernel for a signal when this process dies."""
        number, parent = int(self.process.orphan_signal), os.getpid()

        def ask() -> None:
            _libc.prctl(PR_SET_PDEATHSIG, number)
            if os.getppid() != parent:  # the supervisor died before the request
                os.kill(os.getpid(), signal.SIGKILL)

        return ask

    def _set(self, **fields: object) -> None:
        self.state = self.state.model_copy(update=fields)
        self._changed()

    def _say(self, text: str) -> None:
        logger.warning(text)
        with self._log.open("a") as log:
            log.write(f"supervisor: {text}\n")

    def _trim_log(self) -> None:
        if self._log.exists() and self._log.stat().st_size > LONGEST_LOG:
            self._log.replace(self._log.with_suffix(".log.1"))


def _ended(code: int) -> str:
    if code >= 0:
        return f"exited with status {code}"
    name = signal.Signals(-code).name
    hint = ", possibly by the kernel for lack of memory" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"
