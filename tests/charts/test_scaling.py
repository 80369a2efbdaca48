"""Pods are added on demanded engine time, not on CPU, and the metric's name is one in all places."""

import json
import shutil
import subprocess

import pytest
import yaml

from charts import render
from tests.charts.conftest import container, deploy
from tests.charts.test_settings import SETTINGS

SHARE = 0.7  # docs/explanation/decisions/0009-autoscaling.md
METRIC = "polyphony_offered_load_engine_seconds_per_second"
SCALED = {
    "embedded": {"vision": "1400m", "speech": "1400m", "generation": "2800m", "retrieval": "1400m"},
    "gpu": {"vision": "700m", "speech": "1400m", "retrieval": "700m"},
    "engines": {"vision": "2800m", "speech": "1400m", "retrieval": "700m"},
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
    assert rule["seriesQuery"].startswith("polyphony_offered_load_engine_seconds_total{")
    assert rule["metricsQuery"] == "sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>}[1m]))"
    assert text == (render.UMBRELLA / "prometheus-adapter.yaml").read_text()


ENGINES = {
    "vision": lambda settings: settings.threads,
    "speech": lambda settings: min(settings.transcribe_slots, settings.synthesize_slots),
    "generation": lambda settings: settings.slots,
    "retrieval": lambda settings: settings.engines,
}


def targets_of(deployment):
    """What one pod of an application is to be asked for, in engine seconds a second."""
    hpas = {m["metadata"]["name"]: m["spec"] for m in deployment.of("HorizontalPodAutoscaler")}
    kedas = {m["metadata"]["name"]: m["spec"] for m in deployment.of("ScaledObject")}
    found = {name: int(s["metrics"][0]["pods"]["target"]["averageValue"][:-1]) / 1000 for name, s in hpas.items()}
    found |= {name: float(spec["triggers"][0]["metadata"]["threshold"]) for name, spec in kedas.items()}
    return {name.removeprefix(f"{render.RELEASE}-"): target for name, target in found.items()}


@pytest.mark.parametrize("name", [*SCALED, "mig", "time-sliced"])
def test_an_autoscaler_counts_the_engines_that_a_process_has(deployments, name, monkeypatch):
    """As the services' `build` gives them to their schedulers; of several models of a pod, the one with fewest."""
    targets = targets_of(deployments[name])
    assert targets.keys() >= ENGINES.keys()
    for component, count in ENGINES.items():
        with monkeypatch.context() as patch:
            box = container(deployments[name].workload(component)["spec"]["template"])
            patch.setenv("POLYPHONY_THREADS", box["resources"]["limits"]["cpu"])  # what a process finds for itself
            for variable, value in deployments[name].variables(component).items():
                patch.setenv(variable, value)
            engines = count(SETTINGS[component]())
        assert targets[component] == pytest.approx(engines * SHARE), component


@pytest.mark.parametrize("name", ["gpu", "mig", "time-sliced", "engines"])
def test_nothing_of_production_is_ever_without_a_pod(deployments, name):
    """A rollout and a drain each take one pod at most; where a pod ends before the next starts, one has to be left."""
    least = {m["metadata"]["name"]: m["spec"]["minReplicas"] for m in deployments[name].of("HorizontalPodAutoscaler")}
    least |= {m["metadata"]["name"]: m["spec"]["minReplicaCount"] for m in deployments[name].of("ScaledObject")}
    for workload in deployments[name].of("Deployment", "StatefulSet"):
        spec, owner = workload["spec"], workload["metadata"]["name"]
        assert spec.get("replicas", least.get(owner)) >= 2, owner
        away = {m["metadata"]["name"]: m["spec"]["maxUnavailable"] for m in deployments[name].of("PodDisruptionBudget")}
        assert away[owner] == 1
        assert spec.get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable", 1) <= 1


def test_engines_that_take_minutes_to_start_are_kept_for_ten(deployments):
    spec = deployments["engines"].one("ScaledObject", "vllm")["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 600
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert spec["minReplicaCount"] == 2
    (trigger,) = spec["triggers"]
    slots = deployments["engines"].variables("generation")["POLYPHONY_GENERATION_SLOTS"]
    assert float(trigger["metadata"]["threshold"]) == pytest.approx(int(slots) * SHARE)
    arguments = container(deployments["engines"].workload("vllm")["spec"]["template"])["args"]
    assert f"--max-num-seqs={slots}" in arguments


@pytest.fixture(scope="module")
def to_zero():
    keda = {"generation": {"autoscaling": {"type": "keda", "minReplicas": 0}}}
    return deploy("", render.merged(render.values("gpu"), keda))


def test_keda_scales_to_zero_and_back_on_what_the_gateway_could_not_hand_over(to_zero):
    spec = to_zero.one("ScaledObject", "generation")["spec"]
    workload = to_zero.workload("generation")
    assert spec["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": workload["kind"],
        "name": workload["metadata"]["name"],
    }
    assert "replicas" not in workload["spec"]
    assert spec["minReplicaCount"] == 0
    (trigger,) = spec["triggers"]
    query = trigger["metadata"]["query"]
    assert (
        f'polyphony_offered_load_engine_seconds_total{{job="polyphony-generation",namespace="{render.NAMESPACE}"}}'
        in query
    )
    assert (
        f'polyphony_unserved_load_engine_seconds_total{{service="generation",namespace="{render.NAMESPACE}"}}' in query
    )
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "2.8")
    assert not [a for a in to_zero.of("HorizontalPodAutoscaler") if "generation" in a["metadata"]["name"]]


def test_an_engine_scales_on_the_demand_of_the_service_before_it(deployments):
    (trigger,) = deployments["engines"].one("ScaledObject", "vllm")["spec"]["triggers"]
    assert 'job="polyphony-generation"' in trigger["metadata"]["query"]


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
def test_keda_s_query_says_what_is_demanded_with_pods_and_without(to_zero, tmp_path):
    (trigger,) = to_zero.one("ScaledObject", "generation")["spec"]["triggers"]
    own = 'polyphony_offered_load_engine_seconds_total{job="polyphony-generation",pod="%s"'
    own += f',namespace="{render.NAMESPACE}"}}'
    unserved = f'polyphony_unserved_load_engine_seconds_total{{service="generation",namespace="{render.NAMESPACE}"}}'
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
