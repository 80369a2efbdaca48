"""Whether there are as many pods as the work needs."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import board
from dashboards.panel import lines
from dashboards.promql import APPLICATIONS, PODS, load, ours, rate

SCALER = f'horizontalpodautoscaler=~"{APPLICATIONS}"'
VALUE, ACTIVE = (ours(f'keda_scaler_{name}{{scaledObject=~"{APPLICATIONS}"}}') for name in ("metrics_value", "active"))
REPLICAS = "kube_horizontalpodautoscaler"


def made() -> Dashboard:
    """The dashboard."""
    work = [
        lines("Demand of a pod", "Engine seconds asked for a second: what the autoscaler reads. Refused work counts.",
              "short", {"{{job}} {{instance}}": rate("polyphony_demand_seconds_total", "job, instance")}),
        lines("Load", "Demand per engine second. The autoscaler holds it near its target, 0.7 unless set.",
              "percentunit", {"{{job}} {{model}}": load()}, limits=(0.7, 0.9)),
        lines("Demand without a pod", "Engine seconds of calls that found no pod of the service: what wakes one that "
              "was scaled to zero. For long: it does not come up.", "short",
              {"{{service}}": rate("polyphony_unserved_demand_seconds_total", "service")}),
    ]  # fmt: skip
    pods = [
        lines("Replicas", "What runs, what the autoscaler wants, and its bound. At the bound: raise maxReplicas.",
              "short", {f"{{{{horizontalpodautoscaler}}}} {name}": ours(f"{REPLICAS}_{metric}{{{SCALER}}}")
                        for name, metric in (("run", "status_current_replicas"), ("wanted", "status_desired_replicas"),
                                             ("at most", "spec_max_replicas"))}, width=12),
        lines("Pods that wait", "Wanted but not placed: no node has the GPU or the memory. `kubectl describe pod`.",
              "short", {"{{pod}}": ours(f'kube_pod_status_phase{{phase="Pending", pod=~"{PODS}"}} > 0')}, width=12),
        lines("KEDA, value", "What the scaler of a service that may go to zero reads.", "short",
              {"{{scaledObject}}": f"sum by (scaledObject) {VALUE}"}, width=12),
        lines("KEDA, active", "0: the service is at zero pods, or about to be.", "short",
              {"{{scaledObject}}": f"max by (scaledObject) {ACTIVE}"}, width=12),
    ]  # fmt: skip
    return board(
        "scaling",
        "Scaling",
        "The work that is asked for and the pods there are for it.",
        {"Work": work, "Pods": pods},
    )
