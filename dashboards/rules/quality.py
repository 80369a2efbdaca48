"""Quality: the canary's measures against those of the last week."""

from dashboards.rules.rule import Alert, Group

MARGIN = 0.05
LATE = 6 * 3600


def group() -> Group:
    """The alerts."""
    errors, hits = 'polyphony_quality{metric=~".*_error_rate"}', 'polyphony_quality{metric!~".*_error_rate"}'
    last, job = "polyphony_canary_last_success_timestamp_seconds", 'kube_cronjob_created{cronjob=~".*canary"}'
    return Group(
        "quality",
        [
            Alert(
                "QualityDropped",
                "critical",
                f"{errors} > avg_over_time({errors}[7d] offset 1h) + {MARGIN}\n"
                f"or\n{hits} < avg_over_time({hits}[7d] offset 1h) - {MARGIN}",
                "10m",
                "The {{ $labels.metric }} of {{ $labels.task }} has become worse: {{ $value | humanizePercentage }}",
                f"On the same labelled set it was better by more than {MARGIN:.0%} over the last week. "
                "Calls succeed, and their answers are worse.",
            ),
            Alert(
                "CanaryFails",
                "warning",
                "polyphony_quality_failures > 0",
                "10m",
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
