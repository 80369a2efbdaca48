"""The accelerators, as NVIDIA's DCGM exporter names them."""

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
        lines("Tensor cores", "Share of time in which they work: what the GPU was bought for.", "percentunit",
              {LEGEND: "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"}),
        lines("Memory traffic", "Share of time in which memory is read or written. High: generation is bound by it; "
              "larger batches cost little more.", "percentunit", {LEGEND: "DCGM_FI_PROF_DRAM_ACTIVE"}),
    ]  # fmt: skip
    memory = [
        lines("Memory", "MiB in use. Engines reserve theirs at start; growth after that is a leak.", "decmbytes",
              {LEGEND: USED}),
        lines("Memory, share", "Above 0.95 the next allocation may fail: fewer slots, shorter contexts, `polyphony "
              "plan`.", "percentunit", {LEGEND: f"{USED} / ({USED} + {FREE})"}, limits=(0.9, 0.95)),
        lines("Pods of a GPU", "Which pod has which GPU; several share one by time-slicing or MIG.", "short",
              {f"{LEGEND} {{{{exported_pod}}}}": f"count by (Hostname, gpu, exported_pod) ({USED})"}),
    ]  # fmt: skip
    health = [
        lines("Power", "Watts. At the limit clocks fall, and engine time rises.", "watt",
              {LEGEND: "DCGM_FI_DEV_POWER_USAGE"}),
        lines("Temperature", "Above 85 °C clocks fall: look at the machine room.", "celsius",
              {LEGEND: "DCGM_FI_DEV_GPU_TEMP"}, limits=(80, 88)),
        lines("Last XID error", "It stays until the exporter begins again: a change is an error. The "
              "runbook has the codes.", "short",
              {LEGEND: "DCGM_FI_DEV_XID_ERRORS"}),
    ]  # fmt: skip
    return board(
        "gpu",
        "GPU",
        "What the GPUs do, hold and draw, by the names of NVIDIA's DCGM exporter.",
        {"Work": work, "Memory": memory, "Health": health},
    )
