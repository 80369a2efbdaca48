"""Evaluation of anomalous sound detection, on machines that are not in the training data."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import product

from client.errors import GatewayError
from evaluation import sounds
from evaluation.speech.outcome import Cell, FailedClip, MetricTable, ReviewedAnswer
from evaluation.speech.task import EvaluationTask, TaskContext, spread
from evaluation.speech_set.manifest import EvaluationClip

NAME = "polyphony-evaluation"
LEARNED, HELD_OUT = range(4), range(4, 7)  # machines of each kind
LEARNED_CLIPS, NEW_CLIPS = range(6), range(6, 9)  # of each machine and condition


@dataclass(frozen=True)
class SimulatedMachine:
    """A clip of a synthetic machine."""

    kind: str
    instance: int
    condition: str
    clip: int

    @property
    def name(self) -> str:
        """The name in tables."""
        return f"{self.kind} {self.instance}, {self.condition} {self.clip}"

    def sound(self, seconds: float) -> bytes:
        """A WAV file of this many seconds."""
        return sounds.wav(sounds.machine(self.kind, self.instance, self.condition, self.clip, seconds=seconds))


class AnomalyTask(EvaluationTask):
    """Area under the ROC curve of anomaly scores, and the macro F1 of classes.

    Args:
        clips: The evaluation set, which has no machines.
        limit: The maximum number of clips of each table.
        seconds: The length of each clip.
    """

    name = "sounds"

    def __init__(self, clips: Sequence[EvaluationClip], limit: int, seconds: float = 4.0) -> None:
        super().__init__(clips, limit)
        self._seconds = seconds
        known = _machines(sounds.KINDS, LEARNED, sounds.CONDITIONS, NEW_CLIPS)
        new = _machines(sounds.KINDS, HELD_OUT, sounds.CONDITIONS, NEW_CLIPS)
        self._asked = {"machines in the training data": spread(known, limit), "held-out machines": spread(new, limit)}

    @property
    def items(self) -> int:
        return 2 * sum(len(machines) for machines in self._asked.values())

    def takes(self, clip: EvaluationClip) -> bool:  # noqa: ARG002
        return False

    async def ask(self, asking: TaskContext) -> tuple[Sequence[MetricTable], Sequence[ReviewedAnswer]]:
        anomalies = [row for kind in sounds.KINDS for row in await self._anomalies(asking, kind)]
        classes, looks = await self._classes(asking)
        note = "AUC: area under the ROC curve of the scores; false alarms and detected faults are at the threshold."
        columns = ("machines", "normal", "faults", "AUC", "% false alarms", "% faults detected")
        tables = [
            MetricTable("Anomalous sound detection", columns, anomalies, note),
            MetricTable("Machine sound classification", ("machines", "clips", "macro F1"), classes),
        ]
        return [table for table in tables if table.rows], looks

    async def _anomalies(self, asking: TaskContext, kind: str) -> list[tuple[Cell, ...]]:
        learned = [
            (machine.sound(self._seconds), "") for machine in _machines([kind], LEARNED, ["normal"], LEARNED_CLIPS)
        ]
        rows: list[tuple[Cell, ...]] = []
        async with _fitted(asking, learned) as ready:
            for name, machines in self._asked.items() if ready else ():
                chosen = [machine for machine in machines if machine.kind == kind]
                scored = await asking.each(
                    chosen,
                    lambda machine: asking.gateway.detect_anomaly(NAME, machine.sound(self._seconds)),
                    lambda machine: machine.name,
                )
                faults = [machine.condition != "normal" for machine, _ in scored]
                if len({*faults}) < 2:
                    continue
                alarms = [alarm for _, (_, alarm) in scored]
                found = 100 * _share(alarms, faults)
                false = 100 * _share(alarms, [not fault for fault in faults])
                from sklearn.metrics import roc_auc_score  # takes a second to import

                area = float(roc_auc_score(faults, [score for _, (score, _) in scored]))
                normal = len(faults) - sum(faults)
                rows.append((f"{kind}, {name}", normal, sum(faults), f"{area:.3f}", false, found))
        return rows

    async def _classes(self, asking: TaskContext) -> tuple[list[tuple[Cell, ...]], list[ReviewedAnswer]]:
        machines = _machines(sounds.KINDS, LEARNED, sounds.CONDITIONS, range(2))
        rows: list[tuple[Cell, ...]] = []
        looks: list[ReviewedAnswer] = []
        async with _fitted(
            asking, [(machine.sound(self._seconds), machine.condition) for machine in machines]
        ) as ready:
            for name, asked in self._asked.items() if ready else ():
                told = await asking.each(
                    asked,
                    lambda machine: asking.gateway.classify_sound(NAME, machine.sound(self._seconds)),
                    lambda machine: machine.name,
                )
                right, given = [machine.condition for machine, _ in told], [label for _, label in told]
                if told:
                    from sklearn.metrics import f1_score  # takes a second to import

                    rows.append((name, len(told), f"{f1_score(right, given, average='macro'):.3f}"))
                looks += [
                    ReviewedAnswer(f"{machine.name} ({name})", 1.0, machine.condition, label)
                    for machine, label in told
                    if machine.condition != label
                ]
        return rows, looks


@asynccontextmanager
async def _fitted(asking: TaskContext, clips: Sequence[tuple[bytes, str]]) -> AsyncIterator[bool]:
    """An anomaly detector trained on labelled clips, deleted at the end of the block; False if training failed."""
    try:
        await asking.gateway.train_sound_model(NAME, clips)
    except GatewayError as error:
        asking.failures.append(FailedClip("training an anomaly detector", str(error)))
        yield False
        return
    try:
        yield True
    finally:
        with suppress(GatewayError):
            await asking.gateway.send("DELETE", f"/v1/audio/sound_models/{NAME}")


def _machines(
    kinds: Iterable[str], instances: Iterable[int], conditions: Iterable[str], clips: Iterable[int]
) -> list[SimulatedMachine]:
    return [SimulatedMachine(*one) for one in product(kinds, instances, conditions, clips)]


def _share(alarms: Sequence[bool], among: Sequence[bool]) -> float:
    chosen = [alarm for alarm, here in zip(alarms, among, strict=True) if here]
    return sum(chosen) / len(chosen)
