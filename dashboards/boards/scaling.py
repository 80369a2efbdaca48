"""The dashboard of offered load and replicas."""

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
        lines("Offered load of a pod", "Engine seconds requested a second, rejected ones too: the autoscalers read it.",
              "short", {"{{job}} {{instance}}": rate("polyphony_offered_load_engine_seconds_total", "job, instance")}),
        lines("Utilization", "Offered load per engine. The autoscaler holds it near its target, 0.7 by default.",
              "percentunit", {"{{job}} {{model}}": load()}, limits=(0.7, 0.9)),
        lines("Unserved load", "Engine seconds of requests that found no pod of the service: this scales it up from "
              "zero. For long: the service does not start.", "short",
              {"{{service}}": rate("polyphony_unserved_load_engine_seconds_total", "service")}),
    ]  # fmt: skip
    pods = [
        lines("Replicas", "Current, desired and maximum. At the maximum: raise maxReplicas.",
              "short", {f"{{{{horizontalpodautoscaler}}}} {name}": ours(f"{REPLICAS}_{metric}{{{SCALER}}}")
                        for name, metric in (("current", "status_current_replicas"),
                                             ("desired", "status_desired_replicas"),
                                             ("maximum", "spec_max_replicas"))}, width=12),
        lines("Pending pods", "Not scheduled: no node has the GPU or the memory. `kubectl describe pod`.",
              "short", {"{{pod}}": ours(f'kube_pod_status_phase{{phase="Pending", pod=~"{PODS}"}} > 0')}, width=12),
        lines("KEDA, value", "The metric of the scaler of a service that scales to zero.", "short",
              {"{{scaledObject}}": f"sum by (scaledObject) {VALUE}"}, width=12),
        lines("KEDA, active", "0: the service has zero pods, or will.", "short",
              {"{{scaledObject}}": f"max by (scaledObject) {ACTIVE}"}, width=12),
    ]  # fmt: skip
    return board(
        "scaling",
        "Scaling",
        "Offered load and the pods that serve it.",
        {"Load": work, "Pods": pods},
    )
