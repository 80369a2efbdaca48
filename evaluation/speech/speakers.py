"""Evaluation of diarization."""

from collections.abc import Sequence

from evaluation.speech import metrics
from evaluation.speech.metrics import DiarizationErrors
from evaluation.speech.outcome import Cell, MetricTable, ReviewedAnswer
from evaluation.speech.task import EvaluationTask, TaskContext, grouped
from evaluation.speech_set.manifest import EvaluationClip

CONDITIONS = ("two speakers", "overlap", "noisy speakers", "conversation", "one speaker")
COLLAR = 0.25  # NIST's

Turns = Sequence[tuple[tuple[float, float], str]]


class DiarizationTask(EvaluationTask):
    """Diarization error rates, with an unknown and a given number of speakers."""

    name, passes = "diarize", 2

    def takes(self, clip: EvaluationClip) -> bool:
        return clip.condition in CONDITIONS

    async def ask(self, asking: TaskContext) -> tuple[Sequence[MetricTable], Sequence[ReviewedAnswer]]:
        found = await asking.each(
            self.clips, lambda clip: asking.gateway.turns(asking.sound(clip)), lambda clip: clip.id
        )
        told = await asking.each(
            self.clips,
            lambda clip: asking.gateway.turns(asking.sound(clip), len(clip.voices)),
            lambda clip: f"{clip.id}, number of speakers told",
        )
        with_number = grouped(told)
        rows: list[tuple[Cell, ...]] = []
        for name, pairs in grouped(found).items():
            right = sum(len({speaker for _, speaker in turns}) == len(clip.voices) for clip, turns in pairs)
            parts = _pooled(pairs, COLLAR)
            shares = (100 * part / parts.total for part in (parts.missed, parts.false_alarm, parts.confused))
            rows.append(
                (
                    name,
                    len(pairs),
                    f"{right} of {len(pairs)}",
                    100 * parts.rate,
                    *shares,
                    100 * _pooled(pairs, COLLAR, with_overlap=False).rate,
                    100 * _pooled(pairs, 0.0).rate,
                    100 * _pooled(pairs, 0.0, with_overlap=False).rate,
                    100 * _pooled(with_number[name], COLLAR).rate if name in with_number else None,
                )
            )
        shares_of = "missed", "false alarm", "confusion"
        others = "collar, no overlap", "no collar", "no collar, no overlap", "collar, number given"
        columns = "recordings", "clips", "number correct", f"DER %, collar {COLLAR} s", *shares_of, *others
        note = (
            "DER: seconds missed, falsely detected, or assigned to the wrong speaker, per 100 seconds of speech. All "
            "but the conversation, a real call, are turns of the same five synthetic voices, which differ more than "
            "people do and so are easier."
        )
        return [MetricTable("Diarization", columns, rows, note)] if rows else [], [_look(*pair) for pair in found]


def _pooled(
    pairs: Sequence[tuple[EvaluationClip, Turns]], collar: float, with_overlap: bool = True
) -> DiarizationErrors:
    return metrics.pooled([_marked(clip, turns, collar, with_overlap) for clip, turns in pairs])


def _marked(clip: EvaluationClip, turns: Turns, collar: float, with_overlap: bool = True) -> DiarizationErrors:
    expected = [((turn.start, turn.end), turn.speaker) for turn in clip.turns]
    return metrics.diarization(expected, turns, clip.seconds, collar, with_overlap)


def _look(clip: EvaluationClip, turns: Turns) -> ReviewedAnswer:
    expected = [((turn.start, turn.end), turn.speaker) for turn in clip.turns]
    return ReviewedAnswer(clip.id, _marked(clip, turns, COLLAR).rate, _line(expected), _line(turns))


def _line(turns: Turns) -> str:
    return "  ".join(f"{speaker} {start:.1f}-{end:.1f}" for (start, end), speaker in turns)
