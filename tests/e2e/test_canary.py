"""The canary on real models: values as they were recorded, and nothing left behind."""

import json

import httpx

from evaluation.canary_set import FOLDER


def kept(fleet):
    url = fleet.address("gateway")
    return {kind: len(httpx.get(f"{url}/v1/{kind}").json()["data"]) for kind in ("files", "vector_stores")}


def test_a_healthy_fleet_is_near_its_baseline(fleet):
    before = kept(fleet)
    found = json.loads(fleet.run("canary", "--json"))
    baseline = json.loads((FOLDER / "embedded.json").read_text())
    assert found.keys() == baseline.keys()
    for task, row in found.items():
        assert (row["failures"], row["items"]) == (0, baseline[task]["items"])
        for metric, value in row["quality"].items():
            assert abs(value - baseline[task]["quality"][metric]) < 0.05, (task, metric)
    assert kept(fleet) == before
