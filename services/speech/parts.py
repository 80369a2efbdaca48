"""What the speech service is built of."""

from dataclasses import dataclass
from typing import Self

from servekit.objects import ObjectStore
from services.speech.alignment.alignment import Alignment
from services.speech.assessment.assessment import Assessor
from services.speech.audio.recording import Recordings
from services.speech.diarization.diarization import Diarization
from services.speech.diarization.listeners import Listener, TalkListener, VoiceListener
from services.speech.emotion.emotion import EmotionAnalysis
from services.speech.enhancement.enhancement import Enhancement
from services.speech.lanes import Lanes
from services.speech.live.live import LiveTranscription
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
    def build(cls, settings: SpeechSettings, lanes: Lanes) -> Self:
        """Put them together."""
        store, readers = ObjectStore(settings.object_store_url), Readers(settings.catalogue)
        recordings = Recordings(store, settings)
        transcription = Transcription(lanes.transcribers, lanes.detector)
        references, dictation = References(recordings, lanes.detector), Dictation(transcription)
        voices = Voices(lanes.synthesizers, store, references, dictation.write_down, readers, settings)
        listeners: list[Listener] = [
            *(TalkListener(lane) for lane in lanes.diarizers),
            *(VoiceListener(lane, lanes.detector) for lane in lanes.encoders),
        ]
        return cls(
            settings=settings,
            recordings=recordings,
            transcription=transcription,
            live=LiveTranscription(lanes.transcribers, lanes.detector, settings),
            diarization=Diarization(recordings, listeners, settings.max_speakers),
            alignment=Alignment(
                lanes.aligners,
                lanes.transcribers,
                transcription,
                lanes.detector,
                recordings,
                settings.max_transcript_characters,
            ),
            synthesis=Synthesis(voices, readers, settings),
            voices=voices,
            enhancement=Enhancement(lanes.enhancers, lanes.detector, recordings, settings.max_enhance_seconds),
            assessor=Assessor(recordings, transcription, settings.max_transcript_characters),
            emotions=EmotionAnalysis(recordings, transcription, lanes.sentiments, lanes.emotions),
            sounds=Sounds(recordings, store, settings),
        )
