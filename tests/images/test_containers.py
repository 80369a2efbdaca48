"""Each container as a chart starts it, the fleet that they are, and how they end."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from tests.images.conftest import GRACE_SECONDS, PROCESSES, PROJECT, Fleet, container
from tests.images.test_locks import ROOT, SERVICES
from tests.integration.conftest import picture
from tests.operations.programs import eventually

pytestmark = pytest.mark.timeout(900)
INSTALLERS = ("pip", "pip3", "uv", "apt-get", "gcc", "cc", "g++", "make")


@pytest.fixture
def second(fleet: Fleet) -> Iterator[str]:
    """One more vision container beside the first, which is there alone again at the end."""
    fleet.compose("up", "--detach", "--no-deps", "--scale", "vision=2", "vision")
    name = f"{PROJECT}_vision_2"
    yield name
    fleet.podman("start", container("vision"))
    fleet.podman("rm", "--force", "--time", "5", name)


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_says_what_it_is_and_keeps_nothing_of_the_machine_that_built_it(tag, service):
    inspected = subprocess.check_output(["podman", "image", "inspect", f"localhost/polyphony-{service}:{tag}"])
    image = json.loads(inspected)[0]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in image["Labels"].items()}
    assert (labels["title"], labels["licenses"]) == (f"polyphony-{service}", "Apache-2.0")
    assert labels["version"]
    assert labels["revision"]
    assert image["Config"]["User"] == "10001:10001"
    words = json.dumps([image["Config"]["Env"], image["History"]])
    assert not [word for word in ("PIP_CERT", "SSL_CERT", "PROXY", "PIP_INDEX") if f"{word}=" in words]


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_holds_what_its_service_needs_and_nothing_to_make_more_of(tag, service):
    image = f"localhost/polyphony-{service}:{tag}"
    code = (
        "import os, shutil, sys; from importlib.util import find_spec as spec;"
        f"print(*filter(shutil.which, {INSTALLERS!r}));"
        "print(*sorted(os.listdir('/srv/polyphony')), *sorted(os.listdir('services') if spec('services') else []));"
        "print(bool(spec('pip')), *os.listdir('/var/lib/polyphony/models'))"
    )
    ran = ("podman", "--runtime", "runc", "run", "--rm", "--ulimit", "nproc=1024:1024", "--ulimit", "nofile=1024:1024")
    said = subprocess.check_output([*ran, "--entrypoint", "python3", image, "-c", code], text=True)
    programs, folders, rest = said.split("\n")[:3]
    assert set(programs.split()) <= {"apt-get"}  # the base's own, of no use to whom is not root and may not write
    own = {"gateway": {"gateway"}, "tools": {"capacity", "client", "evaluation", "fleet"}}.get(
        service, {"services", service}
    )
    folders = {name for name in folders.split() if not name.startswith(("__", "polyphony-"))}
    assert folders == {"catalogue", "polyphony", "servekit"} | own
    assert rest == str(service == "tools")  # which fetches packages for what is in them


@pytest.mark.parametrize("service", PROCESSES)
def test_a_process_may_do_nothing_that_it_need_not(fleet: Fleet, service):
    host = fleet.inspect(service)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["Memory"] >= 2 << 30
    status = dict(
        line.split(":\t", 1) for line in fleet.podman("exec", container(service), "cat", "/proc/1/status").splitlines()
    )
    assert status["Uid"].split() == ["10001"] * 4
    assert status["NoNewPrivs"] == "1"
    assert {int(status[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    for path in ("/srv/polyphony", "/opt/chassis", "/var/lib/polyphony"):
        with pytest.raises(AssertionError, match="Read-only file system"):
            fleet.podman("exec", container(service), "touch", f"{path}/x")


@pytest.mark.parametrize("service", PROCESSES)
def test_a_container_is_healthy_by_its_own_check(fleet: Fleet, service):
    assert fleet.healthy(container(service))


def test_the_fleet_answers_what_make_demo_asks(fleet: Fleet):
    environment = {**os.environ, "POLYPHONY_FLEET_GATEWAY_URL": fleet.url, "POLYPHONY_FLEET_API_KEY": fleet.key}
    demo = [sys.executable, ROOT / "examples" / "demo.py"]
    done = subprocess.run(demo, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "degraded" not in done.stdout
    for word in ("pp-ocrv6-small", "whisper-base", "all-minilm-l6-v2", "qwen2.5-coder", "Pompeii"):
        assert word in done.stdout


def test_a_second_replica_takes_over_and_no_call_fails(fleet: Fleet, second: str, record_property):
    """What a rolling update does: one more, then one less, under calls that never pause."""
    eventually("the second", lambda: fleet.healthy(second), 120)
    over = threading.Event()
    failures: list[str] = []
    calls = 0

    def call(caller: int) -> None:
        nonlocal calls
        with fleet.http() as http:
            while not over.is_set():
                calls += 1
                answer = http.post("/v1/vision/read", content=picture(caller * 10_000 + calls))
                if answer.is_error:
                    failures.append(f"{answer.status_code} {answer.text}")

    with ThreadPoolExecutor(2) as pool:
        callers = [pool.submit(call, number) for number in range(2)]
        try:
            time.sleep(2)
            seconds = fleet.stop(container("vision"))
            before = calls
            eventually("calls after it", lambda: calls > before + 2 or failures, 60)
        finally:
            over.set()
        for caller in callers:
            caller.result()
    record_property("calls", calls)
    record_property("seconds", seconds)
    assert not failures
    assert seconds < GRACE_SECONDS
    assert fleet.inspect("vision")["State"]["ExitCode"] == 0


@pytest.mark.parametrize("service", ["generation", "gateway"])
def test_what_runs_is_answered_to_its_end_before_a_container_ends(fleet: Fleet, service, record_property):
    """The gateway last: nothing is reached without it."""
    first: list[Future[None]] = [Future() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(tell, fleet, begun) for begun in first]
        for begun in first:
            begun.result(120)
        seconds = fleet.stop(container(service))
        ends = [answer.result() for answer in answers]
    record_property("seconds", seconds)
    assert ends == ["[DONE]"] * 3
    assert 0.1 < seconds < GRACE_SECONDS
    assert fleet.inspect(service)["State"]["ExitCode"] == 0
    with fleet.http() as http:
        if service == "gateway":
            with pytest.raises(httpx.TransportError):
                http.get("/healthz")
        else:
            fleet.podman("start", container(service))
            eventually("ready again", lambda: fleet.readiness() == "ready")


def tell(fleet: Fleet, begun: Future[None]) -> str:
    """Ask for a long answer; says how its stream ends."""
    question = {"role": "user", "content": "Count from one to eighty in words, one number a line."}
    body = {"messages": [question], "stream": True, "max_tokens": 160}
    last = ""
    with fleet.http() as http, http.stream("POST", "/v1/chat/completions", json=body) as response:
        for line in response.iter_lines():
            last = line.removeprefix("data: ") or last
            if not begun.done():
                begun.set_result(None)
    return last
