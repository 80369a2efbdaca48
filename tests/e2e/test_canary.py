"""The canary on real models: no alarm, and nothing left behind."""

import json

import httpx

from dashboards.rules.quality import FEWER_BY, WORSE_BY
from evaluation.canary_set import FOLDER


def kept(fleet):
    url = fleet.address("gateway")
    return {kind: len(httpx.get(f"{url}/v1/{kind}").json()["data"]) for kind in ("files", "vector_stores")}


def test_a_healthy_fleet_is_within_the_bounds_of_the_alarm(fleet):
    before = kept(fleet)
    found = json.loads(fleet.run("canary", "--json"))
    baseline = json.loads((FOLDER / "embedded.json").read_text())
    assert found.keys() == baseline.keys()
    for task, row in found.items():
        assert (row["failures"], row["items"]) == (0, baseline[task]["items"])
        for metric, value in row["quality"].items():
            usual = baseline[task]["quality"][metric]
            worse = value - usual if metric.endswith("_error_rate") else usual - value
            assert worse <= (WORSE_BY if metric.endswith("_error_rate") else FEWER_BY), (task, metric)
    assert kept(fleet) == before
