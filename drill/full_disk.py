"""A home whose file system is full, while a process is killed."""

import math
import os
import signal
from pathlib import Path

from drill.requests import download, is_ready, samples, status_code, upload, wait_for
from drill.result import DrillResult, Skipped
from fleet.runner.state import start_ticks
from fleet.temporary import TemporaryFleet

PROMISE = (
    "On a full disk requests are answered, uploads get an error and killed processes are restarted; with space again "
    "uploads succeed, no acknowledged file is lost and `status` is true."
)
SHORT = True
UPLOAD_BYTES = 3 << 20
KILLED = "vision"


def run(fleet: TemporaryFleet) -> DrillResult:
    """Fill the home, kill a process, and make space again."""
    if not os.path.ismount(fleet.home):
        raise Skipped("the home needs a small file system of its own, which only root may mount")
    data = os.urandom(UPLOAD_BYTES)
    uploaded = upload(fleet, data)
    if uploaded.status_code != 200:
        return DrillResult(f"the upload before got {uploaded.status_code}", False)
    filler = fleet.home / "filler"
    broken = []
    try:
        fill(filler)
        refused = upload(fleet, os.urandom(UPLOAD_BYTES)).status_code
        if refused < 400:
            broken.append(f"an upload to the full disk got {refused}")
        killed = fleet.processes()[KILLED].pid or 0
        os.kill(killed, signal.SIGKILL)
        restarted = wait_for(lambda: status_code(fleet, KILLED) == 200)
        if math.isinf(restarted):
            broken.append(f"{KILLED} was not restarted on the full disk")
        codes = {service: status_code(fleet, service) for service in samples()}
        broken += [f"a request to {service} got {code}" for service, code in codes.items() if code != 200]
        if fleet.processes()[KILLED].pid == killed:
            broken.append(f"`status` shows the ended process {killed}")
    finally:
        filler.unlink()
    recorded = wait_for(lambda: is_recorded(fleet, killed))
    if math.isinf(recorded):
        broken.append("the state was not written again")
    if math.isinf(wait_for(lambda: is_ready(fleet) and upload(fleet, b"space").status_code == 200)):
        broken.append("the fleet does not take uploads again")
    if download(fleet, uploaded.json()["id"]) != data:
        broken.append("the file uploaded before is lost")
    happened = (
        f"the upload got {refused}; {KILLED} served again after {restarted:.1f} s; with space again the state was "
        f"written after {recorded:.1f} s and uploads succeed"
    )
    return DrillResult("; ".join(broken) or happened, not broken)


def fill(path: Path) -> None:
    """Write a file until its file system is full."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def is_recorded(fleet: TemporaryFleet, killed: int) -> bool:
    """Whether the state has the process that was started after the killed one."""
    process = fleet.processes()[KILLED]
    return process.pid not in (None, killed) and start_ticks(process.pid or 0) == process.start_ticks
