"""The canary on real models: healthy values, pushed, and nothing left behind."""

import json
import time

import httpx

from evaluation.canary_set import FOLDER
from tests.pushgateway import gauges, pushgateway


def kept(fleet):
    url = fleet.address("gateway")
    return {kind: len(httpx.get(f"{url}/v1/{kind}").json()["data"]) for kind in ("files", "vector_stores")}


def test_a_healthy_fleet_is_near_its_baseline(fleet):
    before = kept(fleet)
    with pushgateway() as url:
        found = json.loads(fleet.run("canary", "--json", "--push", url))
        pushed = gauges(url)
    baseline = json.loads((FOLDER / "embedded.json").read_text())
    assert found.keys() == baseline.keys()
    for task, row in found.items():
        assert (row["failures"], row["items"]) == (0, baseline[task]["items"])
        assert pushed["polyphony_quality_failures", task, ""] == 0
        assert pushed["polyphony_quality_items", task, ""] == row["items"]
        for metric, value in row["quality"].items():
            assert abs(value - baseline[task]["quality"][metric]) < 0.05, (task, metric)
            assert round(pushed["polyphony_quality", task, metric], 4) == value
    assert abs(pushed["polyphony_canary_last_success_timestamp_seconds", "", ""] - time.time()) < 60
    assert kept(fleet) == before
