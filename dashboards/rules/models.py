"""Models and what they run on: loading, engines that do not move, the GPU."""

from dashboards.promql import ours
from dashboards.rules.rule import Alert, Group, Record

XID = "gpu:polyphony_xid:last"
HARDWARE = "46|48|61|62|63|64|74|79|92|94|95|110|119|120|140"
"""XIDs of memory, links, the bus and the GPU's own controllers, of NVIDIA's catalogue of XID errors. Those that are
left are a program's, such as 13, 31, 43 and 45."""


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
                "The process runs and its model does not: it still loads, or its engine has died and does not come "
                "back. Calls go to the other replicas, if there are any.",
            ),
            Alert(
                "ModelLoadFailed",
                "critical",
                "max_over_time(polyphony_model_ready[15m]) == 0\n"
                "and on (job, instance) changes(process_start_time_seconds[15m]) > 1",
                "0m",
                "{{ $labels.model }} of {{ $labels.instance }} cannot be loaded",
                "Its process ends and begins again without the model ever being ready: weights are missing or broken, "
                "or there is not memory enough. The pod gets no calls.",
            ),
            Alert(
                "QueueStuck",
                "critical",
                # The longest deadline is 600 s: no run lasts longer than the window.
                "min_over_time(polyphony_queue_depth[15m]) > 0\n"
                f"and {same} increase(polyphony_engine_seconds_count[15m]) == 0",
                "1m",
                "{{ $labels.model }} of {{ $labels.instance }} has work waiting and does none",
                "{{ $value }} items wait and no run has ended for 15 minutes, longer than any deadline: "
                "the engine hangs.",
            ),
            Alert(
                "GpuFaulty",
                "critical",
                _came(f'xid=~"{HARDWARE}"'),
                "0m",
                "GPU {{ $labels.gpu }} of {{ $labels.Hostname }} is faulty: XID {{ $labels.xid }}",
                "The driver has met an error of the hardware within the last hour. Engines on it may hang or answer "
                "nonsense.",
            ),
            Alert(
                "GpuProgramFaults",
                "warning",
                _came(f'xid!~"0|{HARDWARE}"'),
                "0m",
                "A program on GPU {{ $labels.gpu }} of {{ $labels.Hostname }} was ended: XID {{ $labels.xid }}",
                "The driver has met an error of a program within the last hour. Its calls have failed.",
            ),
            Alert(
                "GpuMemoryGrows",
                "warning",
                ours(full),
                "1h",
                "GPU {{ $labels.gpu }} of {{ $labels.Hostname }} is out of memory within a day",
                "Its memory grows and is not given back. When it is full, large items fail first.",
            ),
        ],
    )


def _came(which: str) -> str:
    """Errors that came within the last hour: the exporter goes on saying the last one for as long as it runs.

    What a GPU says that was unknown a minute before may be old.
    """
    new = f"{XID}{{{which}}} unless {XID} offset 1m"
    return f"max_over_time((\n  {new}\n  and on (Hostname, gpu) {XID} offset 1m\n)[1h:1m])"
