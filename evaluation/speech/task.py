"""The tasks of the speech evaluation and their context."""

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np

from client.errors import GatewayError, value_at
from client.gateway import GatewayClient
from evaluation.speech.outcome import FailedClip, MetricTable, ReviewedAnswer, TaskResult
from evaluation.speech_set.manifest import EvaluationClip

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass
class TaskContext:
    """The context of a running task.

    Attributes:
        gateway: The gateway under test.
        folder: The folder of the clips.
        step: Called after each item.
        failures: The clips without an answer so far.
    """

    gateway: GatewayClient
    folder: Path
    step: Callable[[], None]
    failures: list[FailedClip] = field(default_factory=list)

    def sound(self, clip: EvaluationClip) -> bytes:
        """The file of a clip."""
        return (self.folder / clip.file).read_bytes()

    async def transcript(self, recording: bytes, **fields: str) -> tuple[str, str]:
        """The text of a recording, and the language that was detected."""
        answer = await self.gateway.transcribe(recording, response_format="verbose_json", **fields)
        return str(value_at(answer, "text")), str(value_at(answer, "language"))

    async def each(
        self, items: Iterable[Item], ask: Callable[[Item], Awaitable[Answer]], named: Callable[[Item], str]
    ) -> list[tuple[Item, Answer]]:
        """Yield answered items with their answers; a failed item does not stop the task."""
        answered = []
        for item in items:
            try:
                answered.append((item, await ask(item)))
            except GatewayError as error:
                self.failures.append(FailedClip(named(item), str(error)))
            self.step()
        return answered


class EvaluationTask(ABC):
    """One task of the evaluation.

    Args:
        clips: The set, from which a task selects its clips.
        limit: The maximum number of clips, sampled evenly; 0 for all.

    Attributes:
        name: The name in `--only`.
        passes: The number of requests for each clip.
    """

    name: ClassVar[str]
    passes: ClassVar[int] = 1

    def __init__(self, clips: Sequence[EvaluationClip], limit: int) -> None:
        taken = [clip for clip in clips if self.takes(clip)]
        self.clips = spread(taken, limit)

    @property
    def items(self) -> int:
        """The number of steps."""
        return self.passes * len(self.clips)

    @abstractmethod
    def takes(self, clip: EvaluationClip) -> bool:
        """Whether the task uses a clip."""

    @abstractmethod
    async def ask(self, asking: TaskContext) -> tuple[Sequence[MetricTable], Sequence[ReviewedAnswer]]:
        """Run the task; returns its tables and answers for review."""

    async def run(self, gateway: GatewayClient, folder: Path, step: Callable[[], None]) -> TaskResult:
        """Compute the tables and answers for review."""
        began = time.monotonic()
        asking = TaskContext(gateway, folder, step)
        tables, looks = await self.ask(asking)
        return TaskResult(self.name, tables, looks, asking.failures, time.monotonic() - began)


def spread(items: Sequence[Item], limit: int) -> list[Item]:
    """At most `limit` items, sampled evenly and deterministically, in order; all for 0."""
    if not limit or len(items) <= limit:
        return list(items)
    drawn = np.random.default_rng(0).choice(len(items), limit, replace=False)
    return [items[number] for number in sorted(drawn)]


def grouped(answered: Iterable[tuple[EvaluationClip, Answer]]) -> dict[str, list[tuple[EvaluationClip, Answer]]]:
    """The answers by the condition of their clips."""
    groups: dict[str, list[tuple[EvaluationClip, Answer]]] = {}
    for clip, answer in answered:
        groups.setdefault(clip.label, []).append((clip, answer))
    return groups
