"""Pods are added on demanded engine time, not on CPU, and the metric's name is one in all places."""

import json
import shutil
import subprocess

import pytest
import yaml

from charts import render
from tests.charts.conftest import deploy

METRIC = "polyphony_demand_seconds_per_second"
SCALED = {
    "embedded": {"vision": "1400m", "speech": "1400m", "generation": "2800m", "retrieval": "1400m"},
    "gpu": {"vision": "700m", "speech": "700m", "retrieval": "700m"},
}


@pytest.mark.parametrize("name", SCALED)
def test_autoscalers_read_work(deployments, name):
    targets = {}
    for autoscaler in deployments[name].of("HorizontalPodAutoscaler"):
        spec = autoscaler["spec"]
        target = spec["scaleTargetRef"]
        component = target["name"].removeprefix(f"{render.RELEASE}-")
        workload = deployments[name].workload(component)
        assert (target["apiVersion"], target["kind"]) == (workload["apiVersion"], workload["kind"])
        assert "replicas" not in workload["spec"]  # or every upgrade would undo the autoscaler
        (metric,) = spec["metrics"]
        assert metric["pods"]["metric"] == {"name": METRIC}
        targets[component] = metric["pods"]["target"]["averageValue"]
        assert spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0
        assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert targets == SCALED[name]


def test_the_adapter_makes_what_the_autoscalers_read(deployments):
    text = deployments["embedded"].one("ConfigMap", "prometheus-adapter")["data"]["values.yaml"]
    (rule,) = yaml.safe_load(text)["rules"]["custom"]
    assert rule["name"]["as"] == METRIC
    assert rule["seriesQuery"].startswith("polyphony_demand_seconds_total{")
    assert rule["metricsQuery"] == "sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>}[1m]))"
    assert text == (render.UMBRELLA / "prometheus-adapter.yaml").read_text()


def test_keda_scales_to_zero_and_back_on_what_the_gateway_could_not_hand_over(deployments):
    spec = deployments["gpu"].one("ScaledObject", "generation")["spec"]
    workload = deployments["gpu"].workload("generation")
    assert spec["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": workload["kind"],
        "name": workload["metadata"]["name"],
    }
    assert "replicas" not in workload["spec"]
    assert spec["minReplicaCount"] == 0
    (trigger,) = spec["triggers"]
    query = trigger["metadata"]["query"]
    assert f'polyphony_demand_seconds_total{{job="polyphony-generation",namespace="{render.NAMESPACE}"}}' in query
    assert f'polyphony_unserved_demand_seconds_total{{service="generation",namespace="{render.NAMESPACE}"}}' in query
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "2.8")
    assert not [a for a in deployments["gpu"].of("HorizontalPodAutoscaler") if "generation" in a["metadata"]["name"]]


def test_an_engine_scales_on_the_demand_of_the_service_before_it():
    keda = {"type": "keda", "min": 0, "demandOf": "generation", "engines": 4}
    spec = deploy("", render.merged(render.values("engines"), {"vllm": {"autoscaling": keda}})).one(
        "ScaledObject", "vllm"
    )["spec"]
    assert 'job="polyphony-generation"' in spec["triggers"][0]["metadata"]["query"]


def test_without_an_autoscaler_replicas_are_said(deployments):
    for component, replicas in {"gateway": 2, "vision": None}.items():
        assert deployments["embedded"].workload(component)["spec"].get("replicas") == replicas
    for manifest in deployments["edge"].of("Deployment", "StatefulSet"):
        assert manifest["spec"]["replicas"] == 1
    assert not deployments["edge"].of("HorizontalPodAutoscaler", "ScaledObject")


def test_a_disruption_takes_one_pod_at_a_time(deployment):
    budgets = deployment.of("PodDisruptionBudget")
    assert len(budgets) == len(deployment.of("Deployment", "StatefulSet"))
    assert all(budget["spec"]["maxUnavailable"] == 1 for budget in budgets)


def test_the_edge_fits_its_board(deployments):
    """8 GB are shared with the system and, on a Jetson, with the GPU."""
    requested = 0
    for manifest in deployments["edge"].of("Deployment", "StatefulSet"):
        memory = manifest["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        requested += int(memory[:-2]) * {"Mi": 1, "Gi": 1024}[memory[-2:]]
    assert requested <= 6.5 * 1024
    assert json.dumps(deployments["edge"].manifests).count("nvidia.com") == 0


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not here: apt-get install prometheus")
def test_keda_s_query_says_what_is_demanded_with_pods_and_without(deployments, tmp_path):
    (trigger,) = deployments["gpu"].one("ScaledObject", "generation")["spec"]["triggers"]
    own = f'polyphony_demand_seconds_total{{job="polyphony-generation",namespace="{render.NAMESPACE}",pod="%s"}}'
    unserved = f'polyphony_unserved_demand_seconds_total{{service="generation",namespace="{render.NAMESPACE}"}}'
    rises = {"none": {}, "no pods": {unserved: 0.5}, "two pods": {own % "a": 1, own % "b": 2, unserved: 0}}
    demanded = {"none": 0, "no pods": 0.5, "two pods": 3}
    rules = {"groups": [{"name": "a", "rules": [{"record": "demand", "expr": trigger["metadata"]["query"]}]}]}
    tests = [
        {
            "interval": "10s",
            "input_series": [{"series": name, "values": f"0+{10 * rate}x30"} for name, rate in rises[case].items()],
            "promql_expr_test": [
                {"expr": "demand", "eval_time": "4m", "exp_samples": [{"labels": "demand", "value": demanded[case]}]}
            ],
        }
        for case in rises
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    (tmp_path / "tests.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "10s", "tests": tests})
    )
    done = subprocess.run(["promtool", "test", "rules", tmp_path / "tests.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
