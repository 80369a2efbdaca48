"""What can be set of the gateway."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from servekit.ops.settings import Port, ProcessSettings

MIB = 1 << 20


class GatewaySettings(ProcessSettings):
    """The front door's knobs, over those that every process has."""

    process: ClassVar[str] = "gateway"

    port: Port = 50050
    """The gRPC port, for internal systems."""

    metrics_port: Port = 9150
    """The port of `/metrics`."""

    http_host: str = "127.0.0.1"
    """The address of the HTTP port. Anything but loopback needs `keys_file`."""

    http_port: Port = 8080
    """The HTTP port; 0 takes a free one."""

    keys_file: Path | None = None
    """TOML with the API keys' digests; without it there is one tenant, `default`, and loopback only."""

    vision_target: str = "127.0.0.1:50051"
    """Where the vision service is: host:port, or any gRPC target such as `dns:///vision:50051`."""

    speech_target: str = "127.0.0.1:50052"
    """Where the speech service is."""

    generation_target: str = "127.0.0.1:50053"
    """Where the generation service is."""

    retrieval_target: str = "127.0.0.1:50054"
    """Where the retrieval service is."""

    unserved_call_seconds: float = Field(default=1.0, gt=0)
    """The engine seconds that a call is taken to need as long as none of that service was served:
    what an autoscaler wakes the service by."""

    fetch_allow: tuple[str, ...] = ()
    """Host names and networks beside the public ones that `image_url` may point to, as a JSON list."""

    fetch_bytes: int = Field(default=20 * MIB, gt=0)
    """The largest body that is fetched from a URL."""

    fetch_seconds: float = Field(default=10.0, gt=0)
    """How long fetching one URL may take, redirects included."""

    body_bytes: int = Field(default=1 * MIB, gt=0)
    """The largest JSON body where no media are in it."""

    chat_body_bytes: int = Field(default=48 * MIB, gt=0)
    """The largest chat request, with its images and recordings as base64."""

    image_bytes: int = Field(default=20 * MIB, gt=0)
    """The largest image that is read from a body."""

    audio_bytes: int = Field(default=512 * MIB, gt=0)
    """The largest recording that is uploaded for transcription."""

    file_bytes: int = Field(default=512 * MIB, gt=0)
    """The largest file that is kept."""

    document_bytes: int = Field(default=8 * MIB, gt=0)
    """The largest text file that is indexed."""

    sweep_seconds: float = Field(default=3600.0, gt=0)
    """How often expired media are thrown away."""

    max_inline_media_bytes: int = Field(default=4 * MIB, gt=0)
    """Media above this travel to the services through the object store instead of in the message."""

    chat_characters: int = Field(default=200_000, gt=0)
    """The longest conversation, in characters of text: more than any context window holds."""

    media_parts: int = Field(default=16, gt=0)
    """How many images and recordings one conversation may have."""

    realtime_seconds: float = Field(default=3540.0, gt=0)
    """The longest duration of a live session; less than the deadline of StreamingTranscribe, which ends its stream."""

    realtime_frame_bytes: int = Field(default=1 * MIB, gt=0)
    """The largest message of a live session: 16 seconds of 24 kHz sound as base64."""

    default_seconds: float = Field(default=30.0, gt=0)
    """The deadline of a request that no RPC of the contract gives one."""

    file_seconds: float = Field(default=600.0, gt=0)
    """The deadline of uploading or indexing a file."""

    branch_share: float = Field(default=0.6, gt=0, lt=1)
    """How much of a chat's deadline its images, recordings and searches may take together, so that
    there is time left to answer without those that are late."""

    image_tokens: int = Field(default=400, gt=0)
    """How many tokens of an image's text enter the prompt. A laptop reads about 130 tokens a second."""

    recording_tokens: int = Field(default=200, gt=0)
    """How many tokens of a transcript enter the prompt."""

    passage_tokens: int = Field(default=120, gt=0)
    """How many tokens of a passage enter the prompt; documents are cut to passages of this size."""

    passages: int = Field(default=4, gt=0, le=50)
    """How many passages enter the prompt where the caller does not say."""

    cached_results: int = Field(default=1024, ge=0)
    """How many images' and recordings' texts are kept for the turns that follow."""

    health_seconds: float = Field(default=1.0, gt=0)
    """How long `/readyz` waits for a service to say how it is."""
