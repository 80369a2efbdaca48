"""All tasks of the speech evaluation, in order."""

from evaluation.speech.alignment import AlignmentTask
from evaluation.speech.enhancement import EnhancementTask
from evaluation.speech.live import LiveTask
from evaluation.speech.machines import AnomalyTask
from evaluation.speech.reading import SynthesisTask
from evaluation.speech.speakers import DiarizationTask
from evaluation.speech.task import EvaluationTask
from evaluation.speech.transcripts import TranscriptionTask

TASKS: tuple[type[EvaluationTask], ...] = (
    TranscriptionTask,
    DiarizationTask,
    AlignmentTask,
    EnhancementTask,
    SynthesisTask,
    LiveTask,
    AnomalyTask,
)
