"""Alerts on models and GPUs: loading, hanging engines, hardware errors, memory."""

from dashboards.promql import ours
from dashboards.rules.rule import Alert, Group, Record

XID = "gpu:polyphony_xid:last"
HARDWARE = "46|48|61|62|63|64|74|79|92|94|95|110|119|120|140"
"""XIDs of memory, links, the bus and the GPU's controllers, by NVIDIA's catalogue of XID errors. The others are errors
of a program, such as 13, 31, 43 and 45."""


def group() -> Group:
    """The alerts."""
    same = "on (job, instance, model)"
    memory = "DCGM_FI_DEV_FB_USED"
    full = f"predict_linear({memory}[6h], 86400) > {memory} + DCGM_FI_DEV_FB_FREE\nand deriv({memory}[6h]) > 0"
    return Group(
        "models",
        [
            Record(XID, f'count_values by (Hostname, gpu) ("xid", {ours("DCGM_FI_DEV_XID_ERRORS")})'),
            Alert(
                "ModelNotReady",
                "critical",
                "polyphony_model_ready == 0",
                "10m",
                "{{ $labels.model }} of {{ $labels.instance }} is not ready",
                "The process runs without this model: the model is still loading, or its engine crashed and does not "
                "restart. Requests go to the other replicas, if there are any.",
            ),
            Alert(
                "ModelLoadFailed",
                "critical",
                "max_over_time(polyphony_model_ready[15m]) == 0\n"
                "and on (job, instance) changes(process_start_time_seconds[15m]) > 1",
                "0m",
                "{{ $labels.model }} of {{ $labels.instance }} cannot be loaded",
                "Its process restarts without the model ever being ready: weights are missing or corrupt, or there is "
                "not enough memory. The pod gets no requests.",
            ),
            Alert(
                "QueueStuck",
                "critical",
                # The longest deadline is 600 s, so that no run lasts longer than the window.
                "min_over_time(polyphony_queue_depth[15m]) > 0\n"
                f"and {same} increase(polyphony_inference_duration_seconds_count[15m]) == 0",
                "1m",
                "{{ $labels.model }} of {{ $labels.instance }} has queued items and processes none",
                "{{ $value }} items are queued and no run has ended for 15 minutes, longer than any deadline: "
                "the engine hangs.",
            ),
            Alert(
                "GpuFaulty",
                "critical",
                _came(f'xid=~"{HARDWARE}"'),
                "0m",
                "GPU {{ $labels.gpu }} of {{ $labels.Hostname }} is faulty: XID {{ $labels.xid }}",
                "The driver reported a hardware error within the last hour. Engines on this GPU may hang or return "
                "wrong results.",
            ),
            Alert(
                "GpuProgramFaults",
                "warning",
                _came(f'xid!~"0|{HARDWARE}"'),
                "0m",
                "A program on GPU {{ $labels.gpu }} of {{ $labels.Hostname }} failed: XID {{ $labels.xid }}",
                "The driver reported an error of a program within the last hour. The program's requests failed.",
            ),
            Alert(
                "GpuMemoryGrows",
                "warning",
                ours(full),
                "1h",
                "GPU {{ $labels.gpu }} of {{ $labels.Hostname }} will run out of memory within a day",
                "Its memory use grows and is not released. When it is full, large requests fail first.",
            ),
        ],
    )


def _came(which: str) -> str:
    """Errors that appeared within the last hour.

    The exporter repeats the last error for as long as it runs, and the first value of a GPU that was unknown a minute
    before may be old: only changes count.
    """
    new = f"{XID}{{{which}}} unless {XID} offset 1m"
    return f"max_over_time((\n  {new}\n  and on (Hostname, gpu) {XID} offset 1m\n)[1h:1m])"
