"""One service, chosen by `job`: its calls, queue, engine and process."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import board
from dashboards.panel import lines
from dashboards.promql import SERVICES, load, mean, quantile, rate

JOB = 'job="$job"'


def made() -> Dashboard:
    """The dashboard."""
    wait, engine, batch = "polyphony_queue_wait_seconds", "polyphony_engine_seconds", "polyphony_batch_cost"
    busy = f"{rate(f'{engine}_sum', 'model', JOB)} / sum by (model) (polyphony_engines{{{JOB}}})"
    calls = [
        lines("Calls", "By method.", "reqps", {"{{method}}": rate("polyphony_requests_total", "method", JOB)}),
        lines("Ends", "By status code. UNAVAILABLE and INTERNAL are ours; INVALID_ARGUMENT is the caller's.", "reqps",
              {"{{code}}": rate("polyphony_requests_total", "code", JOB)}, stacked=True),
        lines("Duration", "From arrival to end. Where it leaves the engine's time, look at the queue.", "s",
              {name: quantile(q, "polyphony_request_seconds", where=JOB)
               for name, q in (("50%", 0.5), ("95%", 0.95), ("99%", 0.99))}, exemplars=True),
    ]  # fmt: skip
    queue = [
        lines("Waiting", "Items before an engine. Not zero for long: too few replicas, or an engine is stuck.", "short",
              {"{{model}}": f"sum by (model) (polyphony_queue_depth{{{JOB}}})"}),
        lines("Waiting, cost", "In the model's unit: megapixels, audio seconds, tokens, rows.", "short",
              {"{{model}}": f"sum by (model) (polyphony_queue_cost{{{JOB}}})"}),
        lines("Wait, 95%", "From permit to engine. As long as the engine's time: one more replica halves it.", "s",
              {"{{model}}": quantile(0.95, wait, "model", JOB)}, exemplars=True),
        lines("Refused", "OVERLOADED: add replicas. CANCELLED, DEADLINE_EXCEEDED: nobody waited any more. ENGINE_GONE: "
              "read the log.", "ops",
              {"{{model}} {{reason}}": rate("polyphony_refusals_total", "model, reason", JOB)}, width=24),
    ]  # fmt: skip
    engines = [
        lines("Load", "Engine seconds asked for per engine second; above 1 work is turned away.", "percentunit",
              {"{{model}}": load("model", JOB)}, limits=(0.7, 0.9)),
        lines("Busy", "Engine seconds run per engine second. Below the load: work is turned away. Above it: batches "
              "are part full, there is room.", "percentunit", {"{{model}}": busy}),
        lines("Engine time", "Of one run. It grows with the batch; alone it says that the hardware is shared.", "s",
              {f"{{{{model}}}} {name}": quantile(q, engine, "model", JOB) for name, q in (("50%", 0.5), ("95%", 0.95))},
              exemplars=True),
        lines("Batch", "Items that run together, on average. 1 under load: items are too dear for a budget. Streaming "
              "models have no batches.", "short", {"{{model}}": mean("polyphony_batch_size", "model", JOB)}),
        lines("Batch, cost", "What runs together, in the model's unit.", "short",
              {"{{model}}": mean(batch, "model", JOB)}),
        lines("Engine time a unit of cost", "The measured speed of this hardware. Higher than at the last release: "
              "a slower model, driver or neighbour.", "s",
              {"{{model}}": f"{rate(f'{engine}_sum', 'model', JOB)} / ({rate(f'{batch}_sum', 'model', JOB)} > 0)"}),
    ]  # fmt: skip
    process = [
        lines("Memory", "Resident. A line that only rises is a leak: the alert comes, a rolling restart helps.",
              "bytes", {"{{instance}}": f"process_resident_memory_bytes{{{JOB}}}"}),
        lines("CPU", "Cores in use.", "short",
              {"{{instance}}": rate("process_cpu_seconds_total", "instance", JOB)}),
        lines("Models ready", "0: the model is being loaded or its engine has died; the pod gets no calls.", "short",
              {"{{instance}} {{model}}": f"polyphony_model_ready{{{JOB}}}"}),
        lines("Time to load", "Of a model, when its process began: the least that scaling up takes.", "s",
              {"{{instance}} {{model}}": f"polyphony_model_load_seconds{{{JOB}}}"}),
        lines("Up since", "A drop to zero is a restart. Several in a row: read `kubectl logs --previous`.", "s",
              {"{{instance}}": f"time() - process_start_time_seconds{{{JOB}}}"}),
        lines("Disk free", "Of the file systems of weights and data.", "percentunit",
              {"{{instance}} {{folder}}": f"polyphony_disk_free_bytes{{{JOB}}} / polyphony_disk_bytes{{{JOB}}}"}),
    ]  # fmt: skip
    return board(
        "service",
        "Service",
        "One service: its calls, what waits, how its engines run, and its processes.",
        {"Calls": calls, "Queue": queue, "Engines": engines, "Processes": process},
        choose={"job": f"label_values(polyphony_model_ready{{{SERVICES}}}, job)"},
    )
