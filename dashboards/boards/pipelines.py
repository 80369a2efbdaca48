"""The dashboard of the gateway: its pipelines with their steps, and its connections."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import board
from dashboards.panel import lines
from dashboards.promql import GATEWAY, mean, quantile, rate, share

STEP, RESPONSES = "polyphony_pipeline_step_duration_seconds", "polyphony_pipeline_responses_total"
CHAT = f'{GATEWAY}, method=~"POST /v1/chat/completions|Chat"'


def _share_of(outcome: str) -> str:
    return share(
        rate(f"{STEP}_count", "step", f'outcome="{outcome}"'), rate(f"{STEP}_count", "step")
    )  # fmt: skip


def made() -> Dashboard:
    """The dashboard."""
    responses = [
        lines("Responses", "Responses of pipelines; a degraded one lacks an optional step and says so.", "reqps",
              {"degraded {{degraded}}": rate(RESPONSES, "degraded")}, stacked=True),
        lines("Degraded", "Share of the responses. The row below shows the step that failed.", "percentunit",
              {"degraded": share(rate(RESPONSES, where='degraded="true"'), rate(RESPONSES))}, limits=(0.01, 0.05)),
        lines("Duration", "Of a chat completion, from its arrival to its last token.", "s",
              {name: quantile(q, "polyphony_request_duration_seconds", where=CHAT)
               for name, q in (("50%", 0.5), ("95%", 0.95), ("99%", 0.99))}, exemplars=True),
    ]  # fmt: skip
    steps = [
        lines("Mean duration", "Mean seconds of a step. Steps that read media run concurrently: they do not add up.",
              "s", {"{{step}}": mean(STEP, "step")}),
        lines("Step, 95%", "One in twenty takes longer. The slowest step decides the duration of the response.", "s",
              {"{{step}}": quantile(0.95, STEP, "step")}, exemplars=True),
        lines("Outcomes", "How steps end: ok, cached, degraded (the pipeline continues), failed (it ends).",
              "ops", {"{{step}} {{outcome}}": rate(f"{STEP}_count", "step, outcome")}, stacked=True),
        lines("Degraded steps", "Share of a step. Open the Service dashboard of its service.", "percentunit",
              {"{{step}}": _share_of("degraded")}, limits=(0.01, 0.05)),
        lines("Cached", "Share of a step whose result came from the cache.", "percentunit",
              {"{{step}}": _share_of("cached")}),
        lines("Failed", "Share of a step whose failure ended the pipeline.", "percentunit",
              {"{{step}}": _share_of("failed")}, limits=(0.01, 0.05)),
    ]  # fmt: skip
    connections = [
        lines("Request bodies", "Bytes that are received or processed. At max_body_memory_bytes or max_body_disk_bytes "
              "of the gateway's settings large requests get 429.", "bytes",
              {"{{instance}} {{place}}": "polyphony_request_body_bytes"}),
        lines("HTTP connections", "Open connections, WebSockets among them. At max_http_connections the ones that wait "
              "for their clients are closed.", "short", {"{{instance}}": "polyphony_http_connections"}),
        lines("Live sessions", "Open sessions of live transcription. At max_realtime_sessions further ones get 429.",
              "short", {"{{instance}}": "polyphony_realtime_sessions"}),
        lines("Closed connections", "idle: closed for a new one, at the limit. refused: at the limit, and all others "
              "are being answered. unread: the client did not read its answer.", "ops",
              {"{{reason}}": rate("polyphony_http_closed_connections_total", "reason")}),
    ]  # fmt: skip
    return board(
        "pipelines",
        "Pipelines",
        "Duration, outcome and cache of every step of the pipelines; request bodies.",
        {"Responses": responses, "Steps": steps, "Connections": connections},
    )
