"""What the speech service is built of."""

from dataclasses import dataclass
from typing import Self

from servekit.media.objects import ObjectStore
from services.speech.alignment.alignment import Alignment
from services.speech.assessment.assessment import Assessor
from services.speech.audio.recording import Recordings
from services.speech.diarization.diarization import Diarization
from services.speech.diarization.listeners import Listener, TalkListener, VoiceListener
from services.speech.emotion.emotion import EmotionAnalysis
from services.speech.enhancement.enhancement import Enhancement
from services.speech.live.live import LiveTranscription
from services.speech.schedulers import Schedulers
from services.speech.settings import SpeechSettings
from services.speech.sounds.sounds import Sounds
from services.speech.synthesis.readers import Readers
from services.speech.synthesis.synthesis import Synthesis
from services.speech.transcription.transcription import Transcription
from services.speech.voices.dictation import Dictation
from services.speech.voices.references import References
from services.speech.voices.voices import Voices


@dataclass(frozen=True, slots=True)
class Parts:
    """One object a noun, which does its RPCs; built once."""

    settings: SpeechSettings
    recordings: Recordings
    transcription: Transcription
    live: LiveTranscription
    diarization: Diarization
    alignment: Alignment
    synthesis: Synthesis
    voices: Voices
    enhancement: Enhancement
    assessor: Assessor
    emotions: EmotionAnalysis
    sounds: Sounds

    @classmethod
    def build(cls, settings: SpeechSettings, schedulers: Schedulers) -> Self:
        """Put them together."""
        store, readers = ObjectStore(settings.object_store_url), Readers(settings.catalogue)
        recordings = Recordings(store, settings)
        transcription = Transcription(schedulers.transcribers, schedulers.detector)
        references, dictation = References(recordings, schedulers.detector), Dictation(transcription)
        voices = Voices(schedulers.synthesizers, store, references, dictation.write_down, readers, settings)
        listeners: list[Listener] = [
            *(TalkListener(scheduler) for scheduler in schedulers.diarizers),
            *(VoiceListener(scheduler, schedulers.detector) for scheduler in schedulers.encoders),
        ]
        return cls(
            settings=settings,
            recordings=recordings,
            transcription=transcription,
            live=LiveTranscription(schedulers.transcribers, schedulers.detector, settings),
            diarization=Diarization(recordings, listeners, settings.max_speakers),
            alignment=Alignment(
                schedulers.aligners,
                schedulers.transcribers,
                transcription,
                schedulers.detector,
                recordings,
                settings.max_transcript_characters,
            ),
            synthesis=Synthesis(voices, readers, settings),
            voices=voices,
            enhancement=Enhancement(
                schedulers.enhancers, schedulers.detector, recordings, settings.max_enhance_seconds
            ),
            assessor=Assessor(recordings, transcription, settings.max_transcript_characters),
            emotions=EmotionAnalysis(recordings, transcription, schedulers.sentiments, schedulers.emotions),
            sounds=Sounds(recordings, store, settings),
        )
