"""The dashboard of answer quality, from the canary's metrics."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import board
from dashboards.panel import lines, number

ERROR = 'metric=~".*_error_rate"'
HIT = 'metric!~".*_error_rate"'
LEGEND = "{{task}} {{metric}}"


def made() -> Dashboard:
    """The dashboard."""
    now = [
        number("Word and character error rates", "Lower is better. Compare with a week ago below.", "percentunit",
               f"polyphony_canary_quality_ratio{{{ERROR}}}", legend=LEGEND, width=9),
        number("Recall and accuracy", "Higher is better: recall of search, accuracy of answers.", "percentunit",
               f"polyphony_canary_quality_ratio{{{HIT}}}", legend=LEGEND, width=9),
        number("Since the last success", "Hours: the CronJob fails; `kubectl get jobs`.", "s",
               "time() - max(polyphony_canary_last_success_timestamp_seconds)", limits=(2 * 3600, 3 * 3600), width=6),
    ]  # fmt: skip
    course = [
        lines("Errors", "A step up after a release, a new model or a new driver: roll that back.",
              "percentunit", {LEGEND: f"polyphony_canary_quality_ratio{{{ERROR}}}"}),
        lines("Recall and accuracy", "A step down likewise.", "percentunit",
              {LEGEND: f"polyphony_canary_quality_ratio{{{HIT}}}"}),
        lines("Items that failed", "Items of the canary set that got no answer, beside all items.",
              "short", {"{{task}} failed": "polyphony_canary_failed_items", "{{task}} all": "polyphony_canary_items"}),
    ]  # fmt: skip
    return board(
        "quality",
        "Quality",
        "Word and character error rates, recall and accuracy on the labelled canary set.",
        {"Now": now, "Over time": course},
    )
