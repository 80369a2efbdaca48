"""SIGKILL to the supervisor."""

import math
import os
import signal

from drill.requests import download, is_ready, upload, wait_for
from drill.result import DrillResult
from fleet.runner import state
from fleet.runner.state import start_ticks
from fleet.temporary import TemporaryFleet

PROMISE = (
    "When the supervisor is killed its processes end with it, and `polyphony up` starts them again, with all files "
    "where the profile has a Postgres."
)
SHORT = True
END_SECONDS = 30.0


def run(fleet: TemporaryFleet) -> DrillResult:
    """Kill the supervisor and start the fleet again."""
    data = os.urandom(100_000)
    uploaded = upload(fleet, data)
    before = state.read(fleet.home / "run")
    alive = {process.name: (process.pid or 0, process.start_ticks) for process in before.processes}
    os.kill(before.pid, signal.SIGKILL)

    def left() -> list[str]:
        return [name for name, (pid, started) in alive.items() if start_ticks(pid) == started]

    ended = wait_for(lambda: not left(), END_SECONDS)
    broken = [f"{name} outlived the supervisor by {END_SECONDS:g} s" for name in left()]
    fleet.run("up")
    if math.isinf(wait_for(lambda: is_ready(fleet))):
        broken.append("the new fleet did not serve")
    if uploaded.status_code != 200:
        broken.append(f"the upload before got {uploaded.status_code}")
    elif "postgres" in alive and download(fleet, uploaded.json()["id"]) != data:
        broken.append("an uploaded file is lost")
    files = "with" if "postgres" in alive else "without Postgres, so without"
    happened = f"all processes ended after {ended:.1f} s; started again {files} the uploaded file"
    return DrillResult("; ".join(broken) or happened, not broken)
