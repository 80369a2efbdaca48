"""What answers are worth: the canary's measures."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import board
from dashboards.panel import lines, number

ERROR = 'metric=~".*_error_rate"'
HIT = 'metric!~".*_error_rate"'
LEGEND = "{{task}} {{metric}}"


def made() -> Dashboard:
    """The dashboard."""
    now = [
        number("Errors of words and characters", "Lower is better. Compare with a week ago below.", "percentunit",
               f"polyphony_quality{{{ERROR}}}", legend=LEGEND, width=9),
        number("Found and right", "Higher is better: recall of search, accuracy of answers.", "percentunit",
               f"polyphony_quality{{{HIT}}}", legend=LEGEND, width=9),
        number("Since the last run", "Hours late: the CronJob fails; `kubectl get jobs`.", "s",
               "time() - max(polyphony_canary_last_success_timestamp_seconds)", limits=(2 * 3600, 3 * 3600), width=6),
    ]  # fmt: skip
    course = [
        lines("Errors", "A step up after a release, a new model or a new driver is the one to roll back.",
              "percentunit", {LEGEND: f"polyphony_quality{{{ERROR}}}"}),
        lines("Recall and accuracy", "A step down likewise.", "percentunit", {LEGEND: f"polyphony_quality{{{HIT}}}"}),
        lines("Items that failed", "Of the labelled set: calls that gave no answer at all, beside those asked.",
              "short", {"{{task}} failed": "polyphony_quality_failures", "{{task}} asked": "polyphony_quality_items"}),
    ]  # fmt: skip
    return board(
        "quality",
        "Quality",
        "Word and character error rates, recall and accuracy on the labelled canary set.",
        {"Now": now, "Over time": course},
    )
