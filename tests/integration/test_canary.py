"""The canary on fakes: a fleet that answers every call, and nothing rightly."""

import re
import subprocess
import time

from evaluation.canary_set import FOLDER
from fleet.temporary import POLYPHONY
from tests.pushgateway import gauges, pushgateway

SUCCESS = ("polyphony_canary_last_success_timestamp_seconds", "", "")


def test_wrong_answers_lower_the_quality_metrics_while_every_call_succeeds(fleet):
    printed = fleet.run("canary", "--baseline", FOLDER / "embedded.json")
    values = {(metric, task): float(value) for metric, task, value in re.findall(r"(\w+) +(\w+) +(\d\.\d+) ", printed)}
    assert values["word_error_rate", "transcribe"] > 0.9
    assert values["character_error_rate", "read_text"] > 0.7
    assert values["word_error_rate", "speak"] > 0.9
    assert values["accuracy", "chat"] == 0
    assert values["recall", "search"] < 0.8
    assert re.search(r"accuracy +chat +0\.000 +1\.000 -1\.000 +8 +0 ", printed)
    assert "expected  Bergen\n" in printed


def test_an_unreachable_fleet_has_no_quality_metrics_and_keeps_its_last_success(fleet):
    with pushgateway() as address:
        fleet.run("canary", "--push", f"http://{address}")
        healthy = gauges(address)
        command = [POLYPHONY, "canary", "--gateway", "http://127.0.0.1:9", "--push", f"http://{address}"]
        done = subprocess.run(command, env=fleet.environment, capture_output=True, text=True, timeout=60)
        away = gauges(address)
    assert done.returncode == 1
    assert "failed    the gateway does not answer: All connection attempts failed" in done.stdout
    assert healthy["polyphony_canary_quality_ratio", "chat", "accuracy"] == 0
    assert healthy["polyphony_canary_failed_items", "chat", ""] == 0
    assert abs(healthy[SUCCESS] - time.time()) < 60
    assert away[SUCCESS] == healthy[SUCCESS]
    assert away["polyphony_canary_failed_items", "chat", ""] == away["polyphony_canary_items", "chat", ""] == 8
    assert not [name for name, *_ in away if name == "polyphony_canary_quality_ratio"]
