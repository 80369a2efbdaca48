"""Evaluation of synthesis: each voice speaks texts that are then transcribed; errors of both count."""

import tomllib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from client.errors import GatewayError, value_at
from evaluation import speech_set
from evaluation.speech import metrics
from evaluation.speech.outcome import Cell, FailedClip, MetricTable, ReviewedAnswer
from evaluation.speech.task import EvaluationTask, TaskContext, spread
from evaluation.speech_set.manifest import EvaluationClip


async def _read_back(asking: TaskContext, one: tuple[str, str, str]) -> str:
    return (await asking.transcript(await asking.gateway.speak(*one)))[0]


class SynthesisTask(EvaluationTask):
    """Word error rates of synthesized texts, by voice."""

    name = "speak"

    def __init__(self, clips: Sequence[EvaluationClip], limit: int) -> None:
        super().__init__(clips, limit)
        listing = Path(speech_set.__file__).with_name("texts.toml").read_text()
        self._texts = {
            language: spread(texts, limit) for language, texts in tomllib.loads(listing)["read_back"].items()
        }

    @property
    def items(self) -> int:
        return sum(len(texts) for texts in self._texts.values())

    def takes(self, clip: EvaluationClip) -> bool:  # noqa: ARG002
        return False

    async def ask(self, asking: TaskContext) -> tuple[Sequence[MetricTable], Sequence[ReviewedAnswer]]:
        rows: list[tuple[Cell, ...]] = []
        looks: list[ReviewedAnswer] = []
        try:
            voices = await asking.gateway.voices()
        except GatewayError as error:
            asking.failures.append(FailedClip("the list of voices", str(error)))
            return [], []
        for language, texts in self._texts.items():
            for voice in (voice for voice in voices if language in value_at(voice, "languages")):
                name, model = str(value_at(voice, "name")), str(value_at(voice, "model"))
                asked = [(text, name, model) for text in texts]
                read = await asking.each(asked, partial(_read_back, asking), lambda one: f"{one[1]}: {one[0]}")
                answered = [(text, heard) for (text, _, _), heard in read]
                marks = [metrics.edits(text, heard, language) for text, heard in answered]
                if marks:
                    rows.append((f"{name} ({model})", language, len(marks), 100 * metrics.rate(marks).value))
                looks += [
                    ReviewedAnswer(f"{name}", mark.rate, text, heard)
                    for mark, (text, heard) in zip(marks, answered, strict=True)
                    if mark.edits
                ]
        columns = ("voice", "language", "texts", "error %")
        note = "Japanese by characters; the same word in another script counts as wrong."
        return [MetricTable("Synthesis, transcribed", columns, rows, note)] if rows else [], looks
