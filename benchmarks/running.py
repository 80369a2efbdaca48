"""Context managers for the processes of a benchmark: started, waited for, and ended even after an error."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from fleet.runner.plan import USUAL
from fleet.temporary import TemporaryFleet, new_home, running
from servekit.ops.settings import default_home

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server process.

    Attributes:
        address: `host:port`.
        pid: Its process id.
    """

    address: str
    pid: int

    def cpu_seconds(self) -> float:
        """The CPU time of the process and its children so far."""
        process = psutil.Process(self.pid)
        times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        return sum(one.user + one.system for one in times)


def free_port() -> int:
    """A TCP port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(module: str, *arguments: str | Path) -> Iterator[ServerProcess]:
    """Run a module that listens on the port of its first argument; end it and its children afterwards.

    Raises:
        RuntimeError: The process ended, or did not listen in time.
    """
    port = free_port()
    command = (sys.executable, "-m", module, str(port), *map(str, arguments))
    process = subprocess.Popen(command, start_new_session=True)
    try:
        _wait_until_open(process, port)
        yield ServerProcess(f"127.0.0.1:{port}", process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_open(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended before it listened")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(1.5)  # it listens before its model is warm
                return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} did not listen within {START_SECONDS:g} s")


@contextmanager
def fleet(profile: str) -> Iterator[TemporaryFleet]:
    """Start a profile on free ports, with this machine's models; stop it afterwards.

    Raises:
        FleetError: The command failed.
    """
    own = {key: value for key, value in os.environ.items() if key.startswith("POLYPHONY_BENCH_")}
    own = {key.replace("_BENCH", "", 1): value for key, value in own.items()}  # POLYPHONY_BENCH_X sets POLYPHONY_X
    with new_home() as home:
        (home / "models").symlink_to(models_dir())
        with running(home, "--profile", profile, **own) as started:
            yield started


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """A service without a fleet.

    Attributes:
        address: The address of its gRPC server.
        metrics: The URL of its metrics.
        pid: Its process id.
        ready_seconds: The time from its start until its health status was SERVING.
    """

    address: str
    metrics: str
    pid: int
    ready_seconds: float


@contextmanager
def service_process(service: str, profile: str, **settings: str) -> Iterator[ServiceProcess]:
    """Run one service; kill it afterwards.

    Args:
        service: The name of the service, a module of `services`.
        profile: The name of the profile.
        settings: Further settings, by their names in capitals.

    Raises:
        RuntimeError: The process ended, or was not ready in time.
    """
    port, metrics, name = free_port(), free_port(), service.upper()
    plain = {key: value for key, value in os.environ.items() if not key.startswith("POLYPHONY_")}
    own = {"HOME": str(models_dir().parent), "PROFILE": profile, "PORT": str(port), "METRICS_PORT": str(metrics)}
    own = {f"POLYPHONY_{name}_{key}": value for key, value in (own | settings).items()}
    began = time.perf_counter()
    command = (sys.executable, "-P", "-m", f"services.{service}")
    process = subprocess.Popen(command, env=USUAL | plain | own, stderr=subprocess.DEVNULL)
    try:
        _wait_until_serving(process, f"127.0.0.1:{port}")
        yield ServiceProcess(
            f"127.0.0.1:{port}", f"http://127.0.0.1:{metrics}/metrics", process.pid, time.perf_counter() - began
        )
    finally:
        process.kill()
        process.wait()


def _wait_until_serving(process: "subprocess.Popen[bytes]", address: str) -> None:
    with grpc.insecure_channel(address, [("grpc.max_reconnect_backoff_ms", 100)]) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and process.poll() is None:
            try:
                if check(HealthCheckRequest(), timeout=1).status == HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError:
                time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} ended, or was not ready within {START_SECONDS:g} s")


def models_dir() -> Path:
    """The folder of this machine's models."""
    return Path(os.environ.get("POLYPHONY_HOME", default_home())) / "models"


@contextmanager
def line_worker(module: str, *arguments: str | Path) -> Iterator["subprocess.Popen[str]"]:
    """Run a module that writes one line of output for each line of input; end it afterwards."""
    command = (sys.executable, "-m", module, *map(str, arguments))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
