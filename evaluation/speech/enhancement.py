"""Evaluation of enhancement."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.speech import metrics
from evaluation.speech.metrics import EditCounts
from evaluation.speech.outcome import Cell, MetricTable, ReviewedAnswer
from evaluation.speech.task import EvaluationTask, TaskContext, grouped
from evaluation.speech_set import sound
from evaluation.speech_set.manifest import EvaluationClip


@dataclass(frozen=True)
class EnhancementScores:
    """The scores of one version of a clip against the clean clip."""

    si_sdr: float
    stoi: float
    pesq: float | None
    edits: EditCounts
    text: str


class EnhancementTask(EvaluationTask):
    """Signal quality and word error rate before and after enhancement."""

    name = "enhance"

    def takes(self, clip: EvaluationClip) -> bool:
        return clip.condition == "noisy"

    async def ask(self, asking: TaskContext) -> tuple[Sequence[MetricTable], Sequence[ReviewedAnswer]]:
        async def ask(clip: EvaluationClip) -> tuple[EnhancementScores, EnhancementScores]:
            noisy = asking.sound(clip)
            return await _score(asking, clip, noisy), await _score(asking, clip, await asking.gateway.enhance(noisy))

        answered = await asking.each(self.clips, ask, lambda clip: clip.id)
        rows = [_row(name, [pair for _, pair in pairs]) for name, pairs in grouped(answered).items()]
        if rows:
            rows.append(_row("all", [pair for _, pair in answered]))
        measures = ("SI-SDR dB", "STOI", "PESQ", "WER %")
        columns = (
            "recordings",
            "clips",
            *(name for measure in measures for name in (f"{measure}, noisy", f"{measure}, enhanced")),
        )
        note = "Compared with the same speech without noise; PESQ (wideband) where the package pesq is installed."
        looks = [
            ReviewedAnswer(f"{clip.id}, enhanced", after.edits.rate, clip.text, after.text)
            for clip, (_, after) in answered
            if after.edits.edits
        ]
        return [MetricTable("Noise suppression", columns, rows, note)] if rows else [], looks


async def _score(asking: TaskContext, clip: EvaluationClip, version: bytes) -> EnhancementScores:
    text, _ = await asking.transcript(version)
    clean, samples = sound.decode((asking.folder / f"{clip.clean}.flac").read_bytes()), sound.decode(version)
    return EnhancementScores(
        metrics.si_sdr(clean, samples),
        metrics.stoi(clean, samples, sound.RATE),
        metrics.pesq(clean, samples, sound.RATE),
        metrics.edits(clip.text, text, clip.language),
        text,
    )


def _row(name: str, pairs: Sequence[tuple[EnhancementScores, EnhancementScores]]) -> tuple[Cell, ...]:
    before, after = zip(*pairs, strict=True)
    cells: list[Cell] = [name, len(pairs)]
    for version in (before, after):
        cells.append(_mean([heard.si_sdr for heard in version]))
    for version in (before, after):
        cells.append(f"{_mean([heard.stoi for heard in version]):.2f}")
    for version in (before, after):
        marks = [heard.pesq for heard in version if heard.pesq is not None]
        cells.append(f"{_mean(marks):.2f}" if marks else None)
    for version in (before, after):
        cells.append(100 * metrics.rate([heard.edits for heard in version]).value)
    return tuple(cells)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
