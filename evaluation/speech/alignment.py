"""Evaluation of forced alignment."""

from collections.abc import Sequence

from client.errors import GatewayError
from evaluation.speech import metrics
from evaluation.speech.metrics import Span, TimeOffsets
from evaluation.speech.outcome import Cell, MetricTable, ReviewedAnswer
from evaluation.speech.task import EvaluationTask, TaskContext, grouped
from evaluation.speech_set.manifest import EvaluationClip


class AlignmentTask(EvaluationTask):
    """Errors of word times against those of the synthesizer."""

    name = "align"

    def takes(self, clip: EvaluationClip) -> bool:
        return bool(clip.words)

    async def ask(self, asking: TaskContext) -> tuple[Sequence[MetricTable], Sequence[ReviewedAnswer]]:
        async def ask(clip: EvaluationClip) -> list[Span]:
            spans = await asking.gateway.align(asking.sound(clip), clip.text, clip.language)
            if len(spans) != len(clip.words):
                raise GatewayError(f"{len(spans)} words were placed of {len(clip.words)}")
            return spans

        answered = await asking.each(self.clips, ask, lambda clip: clip.id)
        rows: list[tuple[Cell, ...]] = []
        groups = grouped(answered)
        if len(groups) > 1:
            groups["all"] = answered
        for name, pairs in groups.items():
            found = metrics.offsets(
                [(word.start, word.end) for clip, _ in pairs for word in clip.words],
                [span for _, spans in pairs for span in spans],
            )
            rows.append((name, len(pairs), found.words, found.median_ms, found.p95_ms, 100 * found.within_100_ms))
        columns = ("recordings", "clips", "words", "median ms", "95th percentile ms", "% within 100 ms")
        note = "Starts and ends of words, compared with the times that flite reports."
        table = MetricTable("Word times", columns, rows, note)
        return [table] if rows else [], [_look(clip, spans) for clip, spans in answered]


def _look(clip: EvaluationClip, spans: Sequence[Span]) -> ReviewedAnswer:
    found: TimeOffsets = metrics.offsets([(word.start, word.end) for word in clip.words], spans)
    expected = " ".join(f"{word.text}@{word.start:.2f}" for word in clip.words)
    answered = " ".join(f"{word.text}@{start:.2f}" for word, (start, _) in zip(clip.words, spans, strict=True))
    return ReviewedAnswer(clip.id, found.p95_ms, expected, answered)
