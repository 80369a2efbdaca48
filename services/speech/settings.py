"""Settings of the speech service."""

from typing import ClassVar

from pydantic import Field, SecretStr

from servekit.models.backend import Provider
from servekit.ops.ports import PORTS
from servekit.ops.settings import Port, ProcessSettings


class SpeechSettings(ProcessSettings):
    """The settings of `POLYPHONY_SPEECH_…`."""

    process: ClassVar[str] = "speech"

    port: Port = PORTS["speech"].grpc
    metrics_port: Port = PORTS["speech"].metrics

    database_url: SecretStr = SecretStr("")
    """Where the records of custom voices and anomaly detectors are: `postgresql://user:password@host/database`, or
    `memory:`, which ends with the process. Empty: neither is offered."""

    max_database_connections: int = Field(default=4, ge=1)
    """The maximum number of connections of this process to Postgres."""

    transcribe_threads: int = Field(default=1, ge=1)
    """Threads of one transcription; as many run concurrently as fit into `threads`. On two cores, two transcriptions of
    one thread each have the throughput of one with two threads, and no request waits behind a long recording."""

    synthesize_slots: int = Field(default=2, ge=1)
    """Texts synthesized concurrently, one thread each, so that a short one does not wait behind a long one."""

    max_batch_audio_seconds: float = Field(default=240.0, gt=0)
    """The largest batch of a GPU in seconds of audio: eight full windows. A CPU, which gains nothing, runs one
    window."""

    max_audio_bytes: int = Field(default=512 << 20, gt=0)
    """The largest recording in bytes: nine hours at 128 kbit/s, or four hours of 16 kHz PCM. It is read incrementally;
    one inside the message itself is bounded by `max_message_bytes`."""

    max_audio_seconds: float = Field(default=4 * 3600.0, gt=0)
    """The longest recording. It takes no more memory than a short one, but more of an engine's time."""

    max_concurrent_recordings: int = Field(default=64, gt=0)
    """Recordings that one transcriber processes concurrently, in fair order; more are rejected. Each takes up to 10 MB
    beside its own bytes."""

    max_open_recordings: int = Field(default=128, gt=0)
    """Recordings that are open at a time in all tasks: each is a file, and one from a bucket is a copy on disk. More
    are rejected."""

    max_live_streams: int = Field(default=32, gt=0)
    """Concurrent live streams. Each takes a part of an engine while somebody speaks: two cores keep up with a few.
    Under load, interim results are skipped first."""

    max_live_seconds: float = Field(default=3540.0, gt=0)
    """The longest live stream: a little less than the hour of its deadline, so that its last words are returned."""

    live_idle_timeout_seconds: float = Field(default=60.0, gt=0)
    """The time after which a live stream without messages is closed."""

    live_interim_interval_seconds: float = Field(default=0.8, gt=0)
    """New audio after which a running utterance is decoded again, if an engine is free. Words are committed after two
    decodings agree."""

    live_queue_timeout_seconds: float = Field(default=30.0, gt=0)
    """The time for which a complete utterance retries a full queue before its live stream fails."""

    enhance_slots: int = Field(default=2, ge=1)
    """Recordings enhanced concurrently, one thread each, so that a short one does not wait behind a long one."""

    max_enhance_seconds: float = Field(default=1800.0, gt=0)
    """The longest recording to enhance. Until its loudness or silence is measured it is kept on disk, 192 kB a second:
    350 MB for half an hour."""

    anomaly_slots: int = Field(default=2, ge=1)
    """Recordings that are analysed, or anomaly detectors trained, concurrently, one thread each."""

    max_training_clips: int = Field(default=500, gt=0)
    """The most clips that one anomaly detector is trained on."""

    max_anomaly_audio_seconds: float = Field(default=3600.0, gt=0)
    """The most audio in those clips together, and in a recording that is scored: an hour takes half a minute."""

    max_anomaly_classes: int = Field(default=32, gt=0)
    """The most classes of one anomaly detector."""

    max_anomaly_detectors: int = Field(default=100, gt=0)
    """The most anomaly detectors of one tenant: a list request reads every version of each."""

    max_anomaly_detector_versions: int = Field(default=10, gt=0)
    """Versions that are kept of each anomaly detector. Training another deletes the oldest."""

    max_cached_anomaly_detectors: int = Field(default=64, gt=0)
    """Anomaly detectors cached in memory, least recently used evicted first: 0.3 MB each."""

    max_prompt_characters: int = Field(default=4000, gt=0)
    """The longest prompt in characters. Whisper reads the last 224 tokens of it."""

    max_transcript_characters: int = Field(default=200_000, gt=0)
    """The longest text to align or assess, in characters: three hours of fast speech."""

    max_text_characters: int = Field(default=4096, gt=0)
    """The longest text to synthesize, in characters, as in OpenAI's API: about five minutes of speech."""

    vllm_omni_url: str = ""
    """The URL of the vLLM-Omni server for voices whose runtime is `vllm-omni`, such as `http://omni:8091`."""

    max_voices: int = Field(default=100, gt=0)
    """Custom voices of one tenant: a list request reads all, and each stores a recording."""

    max_queue_audio_seconds: float = Field(default=3600.0, gt=0)
    """The largest queue in seconds of audio. A recording in progress counts with its remaining audio, but with no more
    than the new one has. The default takes two cores ten minutes at base size, a request's deadline. A longer recording
    is admitted where the queue is empty."""

    provider: Provider = "cpu"
    """The execution provider of ONNX Runtime for the networks beside Whisper: speakers, alignment, emotion."""

    max_speakers: int = Field(default=10, gt=0, le=50)
    """The maximum number of speakers in a recording, and of known speakers in a request: with more, similar voices are
    confused."""

    max_batch_voice_windows: int = Field(default=32, gt=0)
    """The largest batch of the speaker encoder in windows: more are no faster on a CPU."""

    max_queue_voice_windows: float = Field(default=40_000.0, gt=0)
    """The largest queue of the speaker encoder in windows, 2.5 a second of speech: five hours, five minutes of two
    cores."""

    max_queue_characters: float = Field(default=40_000.0, gt=0)
    """The largest queue of the synthesizer in characters: under a minute of one core."""

    @property
    def transcribe_slots(self) -> int:
        """The number of concurrent transcriptions."""
        return max(1, self.threads // self.transcribe_threads)
