"""What can be set of the speech service."""

from typing import ClassVar

from pydantic import Field

from servekit.models.backend import Provider
from servekit.ops.settings import Port, ProcessSettings


class SpeechSettings(ProcessSettings):
    """The knobs of `POLYPHONY_SPEECH_…`."""

    process: ClassVar[str] = "speech"

    port: Port = 50052
    metrics_port: Port = 9152

    transcribe_threads: int = Field(default=1, ge=1)
    """Threads of one transcription; `threads` holds as many transcriptions at once as fit. On two cores, two
    of one thread finish as much as one of two threads, and no caller waits behind a long recording."""

    synthesize_slots: int = Field(default=2, ge=1)
    """Texts spoken at once, a thread each: a short one does not wait behind a long one."""

    transcribe_batch_seconds: float = Field(default=240.0, gt=0)
    """Sound that a GPU hears at once, eight full windows; on a CPU, which gains nothing by it, one window at a time."""

    max_audio_bytes: int = Field(default=512 << 20, gt=0)
    """The largest recording: nine hours of 128 kbit/s, or four of 16 kHz PCM. It is read as it is heard; what comes in
    the message itself is bounded by `max_message_bytes`."""

    max_audio_seconds: float = Field(default=4 * 3600.0, gt=0)
    """The longest recording. It takes no more memory than a short one, but an engine's time."""

    max_recordings: int = Field(default=64, gt=0)
    """Recordings that a transcriber hears at once, by turns; more are refused. Each takes up to 10 MB beside its own
    bytes."""

    max_open_recordings: int = Field(default=128, gt=0)
    """Recordings open at once, whatever is to be done with them: each is a file, and one from a bucket a copy on disk.
    A call that comes with more is refused."""

    live_streams: int = Field(default=32, gt=0)
    """Live recordings at once. Each takes a part of an engine while somebody speaks: two cores keep up with a few.
    Partial results are what is left out first."""

    live_seconds: float = Field(default=3540.0, gt=0)
    """The longest live recording: a little less than the hour of its deadline, so that it ends with its last words."""

    live_stall_seconds: float = Field(default=60.0, gt=0)
    """How long a live recording may send nothing."""

    live_partial_seconds: float = Field(default=0.8, gt=0)
    """How much more has to be said before a running phrase is decoded again, if an engine is free. Words are stable
    after two decodings."""

    live_overload_seconds: float = Field(default=30.0, gt=0)
    """How long a complete phrase is offered to a full queue before its live recording ends with an error."""

    enhance_slots: int = Field(default=2, ge=1)
    """Recordings cleaned at once, a thread each: a short one does not wait behind a long one."""

    max_enhance_seconds: float = Field(default=1800.0, gt=0)
    """The longest recording to clean. While its loudness or its silence is not yet known it waits on disk, 192 kB for
    each second: 350 MB for half an hour."""

    sound_slots: int = Field(default=2, ge=1)
    """Sound models fitted or asked at once; others wait for their turn."""

    max_sound_clips: int = Field(default=500, gt=0)
    """Clips that one sound model is fitted to."""

    max_sound_seconds: float = Field(default=3600.0, gt=0)
    """Sound in them together, and in a recording that is judged: an hour is heard in half a minute."""

    max_sound_classes: int = Field(default=32, gt=0)
    """Classes of one sound model."""

    max_sound_models: int = Field(default=100, gt=0)
    """Sound models that a tenant may have, by name: they are listed whole, each of its versions read for it."""

    max_sound_versions: int = Field(default=10, gt=0)
    """Versions that are kept of each: enough to go back. The oldest goes when another is fitted."""

    cached_sound_models: int = Field(default=64, gt=0)
    """Sound models kept in memory, those that were used last: 0.3 MB each."""

    max_prompt_characters: int = Field(default=4000, gt=0)
    """Whisper reads the last 224 tokens of a prompt; more is a mistake of the caller's."""

    max_transcript_characters: int = Field(default=200_000, gt=0)
    """The longest text to align or to assess by: three hours of quick speech."""

    max_text_characters: int = Field(default=4096, gt=0)
    """The longest text to speak, as OpenAI's API has it: about five minutes of speech."""

    vllm_omni: str = ""
    """The URL of the vLLM-Omni server that holds the voices whose loader is `vllm-omni`, such as `http://omni:8091`."""

    max_voices: int = Field(default=100, gt=0)
    """Voices that a tenant may have made: they are listed whole, and each keeps a recording."""

    max_queue_audio_seconds: float = Field(default=3600.0, gt=0)
    """Recordings that may wait together, those being heard by what is left of them and no more than the newcomer has:
    at base size some ten minutes of two cores, a call's deadline. A longer one is heard where nothing waits."""

    provider: Provider = "cpu"
    """Where onnxruntime runs the networks that are not Whisper: speakers, alignment, emotion."""

    max_speakers: int = Field(default=10, gt=0, le=50)
    """Speakers that are looked for in a recording at most, and known ones that may be sent with it: with more, the
    voices of two are soon alike."""

    voice_batch_windows: int = Field(default=32, gt=0)
    """Windows in which voices are heard that run together: more are no faster on a CPU."""

    max_queue_voice_windows: float = Field(default=40_000.0, gt=0)
    """Windows that may wait together, 2.5 a second of speech: five hours, which take two cores five minutes."""

    max_queue_characters: float = Field(default=40_000.0, gt=0)
    """Text that may wait together to be spoken: under a minute of work for one core."""

    @property
    def transcribe_slots(self) -> int:
        """Transcriptions at once."""
        return max(1, self.threads // self.transcribe_threads)
