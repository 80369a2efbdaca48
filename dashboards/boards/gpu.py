"""The dashboard of GPUs, from the metrics of NVIDIA's DCGM exporter."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import board
from dashboards.panel import lines

LEGEND = "{{Hostname}} {{gpu}}"
USED, FREE = "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"


def made() -> Dashboard:
    """The dashboard."""
    work = [
        lines("Utilisation", "Share of time with a kernel running. High with little tensor work: small batches.",
              "percent", {LEGEND: "DCGM_FI_DEV_GPU_UTIL"}),
        lines("Tensor cores", "Share of time in which the tensor cores are active.", "percentunit",
              {LEGEND: "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"}),
        lines("Memory traffic", "Share of time in which memory is read or written. High: generation is memory-bound, "
              "and larger batches cost little more.", "percentunit", {LEGEND: "DCGM_FI_PROF_DRAM_ACTIVE"}),
    ]  # fmt: skip
    memory = [
        lines("Memory", "MiB in use. Engines reserve memory at start; growth after that is a leak.", "decmbytes",
              {LEGEND: USED}),
        lines("Memory, share", "Above 0.95 the next allocation may fail: fewer slots, shorter contexts, `polyphony "
              "plan`.", "percentunit", {LEGEND: f"{USED} / ({USED} + {FREE})"}, limits=(0.9, 0.95)),
        lines("Pods of a GPU", "Pods by GPU; several share one by time-slicing or MIG.", "short",
              {f"{LEGEND} {{{{exported_pod}}}}": f"count by (Hostname, gpu, exported_pod) ({USED})"}),
    ]  # fmt: skip
    health = [
        lines("Power", "Watts. At the limit clocks fall and inference slows down.", "watt",
              {LEGEND: "DCGM_FI_DEV_POWER_USAGE"}),
        lines("Temperature", "Above 85 °C clocks fall: check the cooling.", "celsius",
              {LEGEND: "DCGM_FI_DEV_GPU_TEMP"}, limits=(80, 88)),
        lines("Last XID error", "The exporter repeats it until it restarts: a change is a new error. The runbook lists "
              "the codes.", "short",
              {LEGEND: "DCGM_FI_DEV_XID_ERRORS"}),
    ]  # fmt: skip
    return board(
        "gpu",
        "GPU",
        "Utilization, memory and power of the GPUs, from NVIDIA's DCGM exporter.",
        {"Utilization": work, "Memory": memory, "Health": health},
    )
