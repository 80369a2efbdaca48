"""What the gateway makes of several services: the steps of composed answers."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import board
from dashboards.panel import lines
from dashboards.promql import GATEWAY, mean, quantile, rate, share

STEP, ANSWERS = "polyphony_step_seconds", "polyphony_answers_total"
CHAT = f'{GATEWAY}, method=~"POST /v1/chat/completions|Chat"'


def _share_of(outcome: str) -> str:
    return share(
        rate(f"{STEP}_count", "step", f'outcome="{outcome}"'), rate(f"{STEP}_count", "step")
    )  # fmt: skip


def made() -> Dashboard:
    """The dashboard."""
    answers = [
        lines("Answers", "Composed chats that were answered; degraded ones left a step out and said so.", "reqps",
              {"degraded {{degraded}}": rate(ANSWERS, "degraded")}, stacked=True),
        lines("Degraded", "Share of the answers. The step that is left out is in the row below.", "percentunit",
              {"degraded": share(rate(ANSWERS, where='degraded="true"'), rate(ANSWERS))}, limits=(0.01, 0.05)),
        lines("Duration", "Of a chat, from its arrival to its last token.", "s",
              {name: quantile(q, "polyphony_request_seconds", where=CHAT)
               for name, q in (("50%", 0.5), ("95%", 0.95), ("99%", 0.99))}, exemplars=True),
    ]  # fmt: skip
    steps = [
        lines("Where the time goes", "Mean seconds of a step. Steps that read media run at once: they do not add up.",
              "s", {"{{step}}": mean(STEP, "step")}),
        lines("Step, 95%", "One in twenty takes longer. The step that leads decides how long an answer takes.", "s",
              {"{{step}}": quantile(0.95, STEP, "step")}, exemplars=True),
        lines("Outcomes", "How steps end: ok, cached, left_out (the answer goes on without), failed (it does not).",
              "ops", {"{{step}} {{outcome}}": rate(f"{STEP}_count", "step, outcome")}, stacked=True),
        lines("Left out", "Share of a step. Open the Service board of the service that does it.", "percentunit",
              {"{{step}}": _share_of("left_out")}, limits=(0.01, 0.05)),
        lines("From the cache", "Share of a step whose result was known from an earlier turn.", "percentunit",
              {"{{step}}": _share_of("cached")}),
        lines("Failed", "Share of a step that ended its answer.", "percentunit", {"{{step}}": _share_of("failed")},
              limits=(0.01, 0.05)),
    ]  # fmt: skip
    return board(
        "compositions",
        "Compositions",
        "How composed answers come about: time, outcome and cache of every step.",
        {"Answers": answers, "Steps": steps},
    )
