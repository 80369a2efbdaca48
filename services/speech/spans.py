"""Times in messages."""

from polyphony.type.v1.time_span_pb2 import TimeSpan


def span(start: float, end: float) -> TimeSpan:
    """From when to when, in seconds."""
    return TimeSpan(start_seconds=start, end_seconds=end)
