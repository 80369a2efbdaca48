"""The dashboard of one service, selected by `job`: requests, queue, engines and processes."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import board
from dashboards.panel import lines
from dashboards.promql import SERVICES, load, mean, quantile, rate

JOB = 'job="$job"'


def made() -> Dashboard:
    """The dashboard."""
    wait, engine, batch = (
        "polyphony_queue_duration_seconds",
        "polyphony_inference_duration_seconds",
        "polyphony_batch_cost",
    )
    busy = f"{rate(f'{engine}_sum', 'model', JOB)} / sum by (model) (polyphony_engines{{{JOB}}})"
    requests = [
        lines("Requests", "By method.", "reqps", {"{{method}}": rate("polyphony_requests_total", "method", JOB)}),
        lines("Status codes", "UNAVAILABLE and INTERNAL are server errors; INVALID_ARGUMENT is the caller's.", "reqps",
              {"{{code}}": rate("polyphony_requests_total", "code", JOB)}, stacked=True),
        lines("Duration", "From arrival to end. Where it exceeds the inference duration, look at the queue.", "s",
              {name: quantile(q, "polyphony_request_duration_seconds", where=JOB)
               for name, q in (("50%", 0.5), ("95%", 0.95), ("99%", 0.99))}, exemplars=True),
    ]  # fmt: skip
    queue = [
        lines("Queue depth", "Queued items. Not zero for long: too few replicas, or an engine hangs.", "short",
              {"{{model}}": f"sum by (model) (polyphony_queue_depth{{{JOB}}})"}),
        lines("Queue cost", "In the model's unit: megapixels, audio seconds, tokens, rows.", "short",
              {"{{model}}": f"sum by (model) (polyphony_queue_cost{{{JOB}}})"}),
        lines("Queue duration, 95%", "From admission to engine. As long as inference: one more replica halves it.", "s",
              {"{{model}}": quantile(0.95, wait, "model", JOB)}, exemplars=True),
        lines("Rejected", "OVERLOADED: add replicas. CANCELLED, DEADLINE_EXCEEDED: the caller no longer waited. "
              "ENGINE_CRASHED: read the log.", "ops",
              {"{{model}} {{reason}}": rate("polyphony_rejected_requests_total", "model, reason", JOB)}, width=24),
    ]  # fmt: skip
    engines = [
        lines("Utilization", "Offered load per engine; above 1 requests are rejected.", "percentunit",
              {"{{model}}": load("model", JOB)}, limits=(0.7, 0.9)),
        lines("Busy", "Seconds of inference per engine second. Below the utilization: requests are rejected. Above it: "
              "batches are partly full, there is capacity left.", "percentunit", {"{{model}}": busy}),
        lines("Inference duration", "Of one run. It grows with the batch; growth alone means shared hardware.", "s",
              {f"{{{{model}}}} {name}": quantile(q, engine, "model", JOB) for name, q in (("50%", 0.5), ("95%", 0.95))},
              exemplars=True),
        lines("Batch size", "Mean items of a batch. 1 under load: one item exceeds half the cost of a batch. Streaming "
              "models have no batches.", "short", {"{{model}}": mean("polyphony_batch_size", "model", JOB)}),
        lines("Batch cost", "Mean cost of a batch, in the model's unit.", "short",
              {"{{model}}": mean(batch, "model", JOB)}),
        lines("Inference duration by cost", "Seconds a unit of cost: the speed of this hardware. Higher than in the "
              "last release: a slower model, driver or neighbour.", "s",
              {"{{model}}": f"{rate(f'{engine}_sum', 'model', JOB)} / ({rate(f'{batch}_sum', 'model', JOB)} > 0)"}),
    ]  # fmt: skip
    disk = "polyphony_filesystem"
    process = [
        lines("Memory", "Resident memory. A line that only rises is a leak: a rolling restart helps.",
              "bytes", {"{{instance}}": f"process_resident_memory_bytes{{{JOB}}}"}),
        lines("CPU", "Cores in use.", "short",
              {"{{instance}}": rate("process_cpu_seconds_total", "instance", JOB)}),
        lines("Event loop lag", "Share of the loop's timers that are over 0.1 s late: one caller's request delays all "
              "others. Busy: the process computed meanwhile; where it is lower, it waited for a core.", "percentunit",
              {f"{{{{instance}}}} {name}": _late(f"polyphony_event_loop_{name}_seconds") for name in ("lag", "busy")},
              limits=(0.01, 0.1)),
        lines("Models ready", "0: the model is loading or its engine crashed; the pod gets no requests.", "short",
              {"{{instance}} {{model}}": f"polyphony_model_ready{{{JOB}}}"}),
        lines("Load duration", "Of a model, at the start of its process: scaling up takes at least this long.", "s",
              {"{{instance}} {{model}}": f"polyphony_model_load_duration_seconds{{{JOB}}}"}),
        lines("Uptime", "A drop to zero is a restart. Several in a row: read `kubectl logs --previous`.", "s",
              {"{{instance}}": f"time() - process_start_time_seconds{{{JOB}}}"}),
        lines("Disk free", "On the file systems of weights and data.", "percentunit",
              {"{{instance}} {{folder}}": f"{disk}_avail_bytes{{{JOB}}} / {disk}_size_bytes{{{JOB}}}"}),
    ]  # fmt: skip
    return board(
        "service",
        "Service",
        "One service: its requests, queue, engines and processes.",
        {"Requests": requests, "Queue": queue, "Engines": engines, "Processes": process},
        choose={"job": f"label_values(polyphony_model_ready{{{SERVICES}}}, job)"},
    )


def _late(histogram: str) -> str:
    """The share of the observations above 0.1 s."""
    below, count = (
        rate(f"{histogram}_{part}", "instance", f"{JOB}{bound}")
        for part, bound in (("bucket", ', le="0.1"'), ("count", ""))
    )
    return f"1 - {below} / {count}"
