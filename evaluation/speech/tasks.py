"""Everything that is asked of a fleet's speech, in order."""

from evaluation.speech.alignment import Align
from evaluation.speech.enhancement import Enhance
from evaluation.speech.live import Live
from evaluation.speech.machines import Sounds
from evaluation.speech.reading import Speak
from evaluation.speech.speakers import Diarize
from evaluation.speech.task import Task
from evaluation.speech.transcripts import Transcribe

TASKS: tuple[type[Task], ...] = (Transcribe, Diarize, Align, Enhance, Speak, Live, Sounds)
