"""Quality: the canary's measures against those of the last week.

Its set is small: one question of eight is 0.125 of the accuracy. The bounds are those that one question or query cannot
cross, and one recording or picture only if it is wholly misread; the median of a week is not moved by a bad day.
"""

from dashboards.promql import ours
from dashboards.rules.rule import Alert, Group

WORSE_BY, FEWER_BY = 0.10, 0.15
LATE = 3 * 3600  # of a canary that runs every half hour


def group() -> Group:
    """The alerts."""
    errors, hits = 'polyphony_quality{metric=~".*_error_rate"}', 'polyphony_quality{metric!~".*_error_rate"}'
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
                "polyphony_quality_failures > 0",
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
