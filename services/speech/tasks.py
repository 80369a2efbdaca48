"""The task table of the speech service."""

from servekit.tasks.task import BatchConfig, StreamConfig, TaskSpec
from services.speech.alignment import Aligner
from services.speech.anomaly import SoundAnalyzer
from services.speech.diarization import Diarizer, SpeakerEncoder
from services.speech.emotion import EmotionRecognizer, SentimentClassifier
from services.speech.enhancement import Enhancer
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Synthesizer
from services.speech.transcription import Transcriber
from services.speech.voice_activity import SpeechDetector


def tasks(settings: SpeechSettings) -> tuple[TaskSpec, ...]:
    """The tasks of the service, scheduled as its settings say."""
    audio_seconds = _one_by_one("audio seconds", settings.max_queue_audio_seconds)
    characters = _one_by_one("characters", settings.max_queue_characters)

    def transcriptions(model: Transcriber) -> BatchConfig:
        """One thread that runs batches where the model gains by them, else a slot for each transcription."""
        return BatchConfig(
            cost_unit="audio seconds",
            max_batch_cost=settings.max_batch_audio_seconds if model.batches else 0,
            max_queue_cost=settings.max_queue_audio_seconds,
            max_sessions=settings.max_concurrent_recordings,
            threads=1 if model.batches else settings.transcribe_slots,
            prepare_thread=model.batches,
        )

    return (
        TaskSpec(
            name="detect_speech",
            port=SpeechDetector,
            runtimes={
                "silero": "services.speech.voice_activity.models.silero:load",
                "fake-speech-detector": "services.speech.voice_activity.models.fake:load",
            },
            scheduler=None,
        ),
        TaskSpec(
            name="transcribe",
            port=Transcriber,
            runtimes={
                "whisper": "services.speech.transcription.models.whisper.whisper:load",
                "paraformer": "services.speech.transcription.models.paraformer:load",
                "fake-transcriber": "services.speech.transcription.models.fake:load",
            },
            scheduler=transcriptions,
        ),
        TaskSpec(
            name="align",
            port=Aligner,
            runtimes={
                "wav2vec2": "services.speech.alignment.models.wav2vec2:load",
                "fake-aligner": "services.speech.alignment.models.fake:load",
            },
            scheduler=audio_seconds,
        ),
        TaskSpec(
            name="diarize",
            port=Diarizer,
            runtimes={
                "pyannote": "services.speech.diarization.models.pyannote:load",
                "fake-diarizer": "services.speech.diarization.models.fake:load_diarizer",
            },
            scheduler=audio_seconds,
        ),
        TaskSpec(
            name="embed_speaker",
            port=SpeakerEncoder,
            runtimes={
                "resemblyzer": "services.speech.diarization.models.resemblyzer:load",
                "fake-speaker-encoder": "services.speech.diarization.models.fake:load_encoder",
            },
            scheduler=BatchConfig(
                cost_unit="windows",
                max_batch_cost=settings.max_batch_voice_windows,
                max_queue_cost=settings.max_queue_voice_windows,
                threads=settings.threads,
            ),
            network_threads=1,
        ),
        TaskSpec(
            name="enhance",
            port=Enhancer,
            runtimes={
                "deepfilter": "services.speech.enhancement.models.deepfilter:load",
                "spectral-gate": "services.speech.enhancement.models.spectral_gate:load",
                "fake-enhancer": "services.speech.enhancement.models.fake:load",
            },
            scheduler=StreamConfig(
                cost_unit="audio seconds",
                max_queue_cost=settings.max_queue_audio_seconds,
                slots=settings.enhance_slots,
            ),
            skip_unimplemented=True,
        ),
        TaskSpec(
            name="detect_anomaly",
            port=SoundAnalyzer,
            runtimes={"logmel": "services.speech.anomaly.models.logmel:load"},
            scheduler=BatchConfig(
                cost_unit="audio seconds",
                max_batch_cost=0,
                max_queue_cost=settings.max_queue_audio_seconds,
                threads=settings.anomaly_slots,
                prepare_thread=False,
            ),
        ),
        TaskSpec(
            name="recognize_emotion",
            port=EmotionRecognizer,
            runtimes={"acoustic-emotion": "services.speech.emotion.models.wav2vec2:load"},
            scheduler=audio_seconds,
        ),
        TaskSpec(
            name="classify_sentiment",
            port=SentimentClassifier,
            runtimes={
                "vader": "services.speech.emotion.models.vader:load",
                "hownet": "services.speech.emotion.models.hownet:load",
                "fake-sentiment": "services.speech.emotion.models.fake:load",
            },
            scheduler=characters,
        ),
        TaskSpec(
            name="synthesize",
            port=Synthesizer,
            runtimes={
                "hibari": "services.speech.synthesis.models.hibari:load",
                "kokoro": "services.speech.synthesis.models.kokoro:load",
                "piper": "services.speech.synthesis.models.piper:load",
                "vllm-omni": "services.speech.synthesis.models.vllm_omni:load",
                "fake-synthesizer": "services.speech.synthesis.models.fake:load",
            },
            scheduler=StreamConfig(
                cost_unit="characters",
                max_queue_cost=settings.max_queue_characters,
                slots=settings.synthesize_slots,
            ),
        ),
    )


def _one_by_one(cost_unit: str, max_queue_cost: float) -> BatchConfig:
    """The scheduler of a model that runs one request at a time."""
    return BatchConfig(cost_unit=cost_unit, max_batch_cost=0, max_queue_cost=max_queue_cost, prepare_thread=False)
