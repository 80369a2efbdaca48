"""What a single item can do to the canary's alarm, as docs/how-to/canary.md says it."""

from collections.abc import Sequence
from typing import Any

from dashboards.rules.quality import FEWER_BY, WORSE_BY
from evaluation import metrics
from evaluation.canary_set import read
from evaluation.tasks import CanaryTask, ChatCanary, ReadTextCanary, SearchCanary, SpeechCanary, TranscribeCanary

CANARY = read()


def crossing(task: CanaryTask, right: Sequence[Any], wrong: Any, bound: float) -> int:
    """How many items cross the bound alone, if they are answered so wrongly and all others rightly."""
    usual = task.marks(task.items, right)
    found = 0
    for index in range(len(right)):
        marks = task.marks(task.items, [*right[:index], wrong, *right[index + 1 :]])
        found += any(abs(mark - usual[name]) > bound for name, mark in marks.items())
    return found


def test_no_single_question_or_query_crosses_the_bound() -> None:
    assert crossing(ChatCanary(CANARY.chat), [row.any_of[0] for row in CANARY.chat], "", FEWER_BY) == 0
    queries = CANARY.search.queries
    assert crossing(SearchCanary(CANARY.search), [[row.passage] for row in queries], [], FEWER_BY) == 0
    assert min(2 / len(CANARY.chat), 2 / len(queries)) > FEWER_BY


def test_a_recording_or_a_picture_wholly_misread_can() -> None:
    recordings, pictures, spoken = CANARY.transcribe, CANARY.read_text, CANARY.speak
    assert (
        len(recordings),
        crossing(TranscribeCanary(recordings), [row.text for row in recordings], "", WORSE_BY),
    ) == (7, 5)
    assert (len(pictures), crossing(ReadTextCanary(pictures), [row.text for row in pictures], "", WORSE_BY)) == (5, 4)
    assert (len(spoken), crossing(SpeechCanary(spoken), [row.text for row in spoken], "", WORSE_BY)) == (3, 3)


def test_a_line_of_a_picture_does_not() -> None:
    whole = sum(len(metrics.written(row.text)) for row in CANARY.read_text)
    lines = [line for row in CANARY.read_text for line in row.text.splitlines()]
    assert max(len(metrics.written(line)) for line in lines) / whole < WORSE_BY
