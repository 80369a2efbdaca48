"""Alerts on quality: the canary's metrics compared with the median of the last week.

The canary set is small: one question of eight is 0.125 of the accuracy. One wrong answer alone crosses no threshold;
one recording or image does so only where all of it is misread. A bad day does not move the median of a week.
"""

from dashboards.promql import ours
from dashboards.rules.rule import Alert, Group

WORSE_BY, FEWER_BY = 0.10, 0.15
LATE = 3 * 3600  # of a canary that runs every half hour


def group() -> Group:
    """The alerts."""
    errors, hits = (
        'polyphony_canary_quality_ratio{metric=~".*_error_rate"}',
        'polyphony_canary_quality_ratio{metric!~".*_error_rate"}',
    )
    last, job = "polyphony_canary_last_success_timestamp_seconds", ours('kube_cronjob_created{cronjob=~".+-canary"}')
    return Group(
        "quality",
        [
            Alert(
                "QualityDropped",
                "critical",
                f"{errors} > {usual(errors)} + {WORSE_BY}\nor\n{hits} < {usual(hits)} - {FEWER_BY}",
                "10m",
                "The {{ $labels.metric }} of {{ $labels.task }} has become worse: {{ $value | humanizePercentage }}",
                "On the same labelled set it was clearly better over the last week. Calls succeed, and their answers "
                "are worse.",
            ),
            Alert(
                "CanaryFails",
                "warning",
                "polyphony_canary_failed_items > 0",
                "45m",
                "{{ $value }} items of the canary's {{ $labels.task }} gave no answer",
                "The labelled set is answered only in part: its measures say less than they seem to.",
            ),
            Alert(
                "CanaryAbsent",
                "warning",
                f"time() - max by (job) ({last}) > {LATE}\n"
                f"or\ntime() - max by (cronjob) ({job}) > {LATE} and on () absent({last})",
                "10m",
                "The canary has not run through for {{ $value | humanizeDuration }}",
                "Nobody measures the answers: a drop of quality would not be seen.",
            ),
        ],
    )


def usual(measure: str) -> str:
    """The median of a week."""
    return f"quantile_over_time(0.5, {measure}[7d] offset 1h)"
