"""Evaluation of transcription, with the window fitted to the speech and with the full window."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, get_args

from evaluation.speech import metrics
from evaluation.speech.metrics import EditCounts
from evaluation.speech.outcome import Cell, MetricTable, ReviewedAnswer
from evaluation.speech.task import EvaluationTask, TaskContext
from evaluation.speech_set.manifest import EvaluationClip

# Names of the languages in `verbose_json`.
NAMES = {
    "de": "german", "en": "english", "es": "spanish", "fr": "french", "it": "italian", "ja": "japanese",
    "nl": "dutch", "pl": "polish", "pt": "portuguese", "ru": "russian", "zh": "chinese",
}  # fmt: skip

Mode = Literal["fitted", "full"]
MODES: tuple[Mode, ...] = get_args(Mode)

Heard = Mapping[Mode, tuple[str, str]]
"""The transcript with each window, and the detected language."""


class TranscriptionTask(EvaluationTask):
    """Word error rates by condition and language, detected languages, and hallucinated words."""

    name, passes = "transcribe", len(MODES)

    def takes(self, clip: EvaluationClip) -> bool:  # noqa: ARG002
        return True

    async def ask(self, asking: TaskContext) -> tuple[Sequence[MetricTable], Sequence[ReviewedAnswer]]:
        by_mode: dict[Mode, dict[str, tuple[str, str]]] = {}
        for mode in MODES:
            asked = [(clip, mode) for clip in self.clips]
            answered = await asking.each(
                asked, partial(_transcript, asking), lambda one: f"{one[0].id}, {one[1]} window"
            )
            by_mode[mode] = {clip.id: answer for (clip, _), answer in answered}
        heard = [
            (clip, {mode: by_mode[mode][clip.id] for mode in MODES})
            for clip in self.clips
            if all(clip.id in by_mode[mode] for mode in MODES)
        ]
        said = [(clip, answers) for clip, answers in heard if clip.text]
        tables = [_english(said), _languages(said), _nobody([pair for pair in heard if not pair[0].text])]
        return [table for table in tables if table.rows], [look for pair in heard if (look := _look(*pair))]


async def _transcript(asking: TaskContext, one: tuple[EvaluationClip, Mode]) -> tuple[str, str]:
    clip, mode = one
    fields = {"full_window": "true"} if mode == "full" else {}
    return await asking.transcript(asking.sound(clip), **fields)


def _english(said: Sequence[tuple[EvaluationClip, Heard]]) -> MetricTable:
    groups: dict[str, list[tuple[EvaluationClip, Heard]]] = {}
    english = [pair for pair in said if pair[0].language == "en"]
    for pair in english:
        groups.setdefault(pair[0].label, []).append(pair)
    if english:
        groups["all English"] = english
    return MetricTable(
        "English, by condition",
        ("recordings", "clips", "minutes", *_columns("WER %"), "fitted minus full"),
        [(name, *_figures(pairs), _difference(pairs)) for name, pairs in groups.items()],
        "WER: substitutions, deletions and insertions per 100 words, after Whisper's normalizer; 95 %: bootstrap "
        "interval over clips; `fitted minus full` in points, resampled together.",
    )


def _languages(said: Sequence[tuple[EvaluationClip, Heard]]) -> MetricTable:
    groups: dict[str, list[tuple[EvaluationClip, Heard]]] = {}
    for pair in said:
        clip = pair[0]
        if clip.condition == "clean":
            by = "espeak-ng" if clip.voices[0].startswith("espeak") else "voices"
            unit = "CER" if clip.language in metrics.UNSPACED else "WER"
            groups.setdefault(f"{clip.language}, {by}, {unit}", []).append(pair)
    return MetricTable(
        "Languages, clean",
        ("language", "clips", "minutes", *_columns("error %"), "language correct, fitted", "full"),
        [(name, *_figures(pairs), *(_detected(pairs, mode) for mode in MODES)) for name, pairs in groups.items()],
        "The language is not given. espeak-ng is a rule-based synthesizer that is hard to understand for people too.",
    )


def _nobody(heard: Sequence[tuple[EvaluationClip, Heard]]) -> MetricTable:
    return MetricTable(
        "Recordings without speech",
        ("recording", "seconds", "characters, fitted", "characters, full"),
        [(clip.id, clip.seconds, *(len(answers[mode][0].strip()) for mode in MODES)) for clip, answers in heard],
        "Every character is a hallucination.",
    )


def _columns(unit: str) -> tuple[str, ...]:
    return tuple(name for mode in MODES for name in (f"{unit}, {mode}", f"95 %, {mode}"))


def _figures(pairs: Sequence[tuple[EvaluationClip, Heard]]) -> tuple[Cell, ...]:
    cells: list[Cell] = [len(pairs), sum(clip.seconds for clip, _ in pairs) / 60]
    for mode in MODES:
        rate = metrics.rate(_edits(pairs, mode))
        cells += [100 * rate.value, f"[{100 * rate.low:.1f}, {100 * rate.high:.1f}]"]
    return tuple(cells)


def _difference(pairs: Sequence[tuple[EvaluationClip, Heard]]) -> str:
    rate = metrics.difference(_edits(pairs, "fitted"), _edits(pairs, "full"))
    return f"{100 * rate.value:+.1f} [{100 * rate.low:+.1f}, {100 * rate.high:+.1f}]"


def _edits(pairs: Sequence[tuple[EvaluationClip, Heard]], mode: Mode) -> list[EditCounts]:
    return [metrics.edits(clip.text, answers[mode][0], clip.language) for clip, answers in pairs]


def _detected(pairs: Sequence[tuple[EvaluationClip, Heard]], mode: Mode) -> str:
    return f"{sum(answers[mode][1] == NAMES.get(clip.language) for clip, answers in pairs)} of {len(pairs)}"


def _look(clip: EvaluationClip, answers: Heard) -> ReviewedAnswer | None:
    """The worse transcript of the two windows, if either has errors."""
    marks = {mode: metrics.edits(clip.text, answers[mode][0], clip.language).rate for mode in MODES}
    worse = max(MODES, key=lambda mode: marks[mode])
    if not marks[worse]:
        return None
    return ReviewedAnswer(f"{clip.id}, {worse} window", marks[worse], clip.text, answers[worse][0])
