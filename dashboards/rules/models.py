"""Models and what they run on: loading, engines that do not move, the GPU."""

from dashboards.rules.rule import Alert, Group


def group() -> Group:
    """The alerts."""
    same = "on (job, instance, model)"
    memory = "DCGM_FI_DEV_FB_USED"
    return Group(
        "models",
        [
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
                "DCGM_FI_DEV_XID_ERRORS > 0",
                "0m",
                "GPU {{ $labels.gpu }} of {{ $labels.Hostname }} reports XID {{ $value }}",
                "The driver has met an error of the hardware or of a program. Engines on it may hang or answer "
                "nonsense.",
            ),
            Alert(
                "GpuMemoryGrows",
                "warning",
                f"predict_linear({memory}[6h], 86400)\n> {memory} + DCGM_FI_DEV_FB_FREE\nand deriv({memory}[6h]) > 0",
                "1h",
                "GPU {{ $labels.gpu }} of {{ $labels.Hostname }} is out of memory within a day",
                "Its memory grows and is not given back. When it is full, large items fail first.",
            ),
        ],
    )
