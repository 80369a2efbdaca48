"""A supervised process: it is started, restarted when it exits or hangs, and stopped."""

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

from fleet.runner.liveness import until_hung
from fleet.runner.process import Process
from fleet.runner.process_log import ProcessLog
from fleet.runner.state import ProcessState, start_ticks
from fleet.settings import FleetSettings

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
HEALTHY_SECONDS = 60.0
HUNG_STOP_SECONDS = 5.0  # for a hung process to exit after its stop signal
PREPARE_AGAIN_SECONDS = 5.0
POLL_SECONDS = 0.1
PR_SET_PDEATHSIG = 1

logger = logging.getLogger("fleet")
_libc = ctypes.CDLL(None, use_errno=True)


class Child:
    """Keeps one process running until `stop`.

    Nothing that the machine may lack ends it: disk space, a folder, file descriptors, memory for a new process.

    Args:
        process: The process to run.
        settings: The settings of the fleet.
        changed: Called whenever `state` changes; must not raise.
    """

    def __init__(self, process: Process, settings: FleetSettings, changed: Callable[[], None]) -> None:
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
        self.log = ProcessLog(settings.logs_dir / f"{process.name}.log")
        self._settings = settings
        self._changed = changed
        self._stopping = asyncio.Event()
        self._running: subprocess.Popen[bytes] | None = None
        self._hung = ""

    async def run(self) -> None:
        """Run the process and restart it whenever it exits, with exponential backoff while it keeps failing."""
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                reason = await self._run_once()
            except Exception as error:  # the next attempt may find the resource that was missing
                reason = f"could not be started: {error}"
            if self._stopping.is_set():
                break
            failures = 1 if time.monotonic() - started > HEALTHY_SECONDS else failures + 1
            delay = min(FIRST_DELAY * 2 ** (failures - 1), LONGEST_DELAY)
            self._note(f"{self.process.name} {reason}; restarting in {delay:g} s")
            self._set(state="waiting", pid=None, reason=reason, restarts=self.state.restarts + 1)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
        self._set(state="stopped", pid=None)
        self.log.close()

    async def stop(self) -> None:
        """Send the stop signal; kill the process if it does not exit in time."""
        self._stopping.set()
        if self._running is not None:
            await self._end(self._running, self.process.stop_seconds)

    async def _run_once(self) -> str:
        """Run the process until it exits; returns how it ended."""
        await asyncio.to_thread(self.process.before)
        if self._stopping.is_set():
            return "was not started"
        user, log, self._hung = self.process.user, self.log.open(), ""
        self._running = running = subprocess.Popen(  # noqa: ASYNC220 - it returns once the program has been executed
            self.process.command,
            env=dict(self.process.environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=user and user[0],
            group=user and user[1],
            extra_groups=user and [],
            start_new_session=True,
            preexec_fn=self._die_with_supervisor(),
        )
        self._set(state="starting", pid=running.pid, start_ticks=start_ticks(running.pid), since=time.time())
        preparing = asyncio.create_task(self._prepare())
        watching = asyncio.create_task(self._end_if_hung(running))
        code = await _exit_code(running)
        preparing.cancel()
        watching.cancel()
        return self._hung or _ended(code)

    async def _prepare(self) -> None:
        """Do what must be done before the process is usable, again while that fails."""
        while self.process.after:
            try:
                await self.process.after()
                break
            except Exception as error:  # such as a full disk
                self._note(f"{self.process.name} runs but is not usable: {error}")
                await asyncio.sleep(PREPARE_AGAIN_SECONDS)
        self._set(state="running")

    async def _end_if_hung(self, running: "subprocess.Popen[bytes]") -> None:
        silence = await until_hung(self.process, self._settings)
        if not self._stopping.is_set():
            self._hung = f"answered no health check for {silence:.0f} s"
            self._note(f"{self.process.name} {self._hung}; ending it")
            await self._end(running, HUNG_STOP_SECONDS)

    async def _end(self, running: "subprocess.Popen[bytes]", seconds: float) -> None:
        """Send the stop signal, and SIGKILL if the process has not exited after some seconds."""
        running.send_signal(self.process.stop_signal)
        try:
            async with asyncio.timeout(seconds):
                await _exit_code(running)
        except TimeoutError:
            self._note(f"{self.process.name} did not exit within {seconds:g} s; killing it")
            running.kill()
            await _exit_code(running)

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

    def _note(self, text: str) -> None:
        logger.warning(text)
        self.log.note(text)


async def _exit_code(running: "subprocess.Popen[bytes]") -> int:
    """Wait for a process. Polling needs no thread or file descriptor, which asyncio's own ways may fail to get."""
    while (code := running.poll()) is None:  # noqa: ASYNC110
        await asyncio.sleep(POLL_SECONDS)
    return code


def _ended(code: int) -> str:
    if code >= 0:
        return f"exited with status {code}"
    name = signal.Signals(-code).name
    hint = ", possibly by the kernel for lack of memory" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"
