"""Settings of the gateway."""

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from servekit.ops.ports import PORTS
from servekit.ops.settings import Port, ProcessSettings

MIB = 1 << 20

HostName = Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_.-]*[a-z0-9_-])?)$")]
"""A host name in lower case or an address, without a port."""


class GatewaySettings(ProcessSettings):
    """The settings of `POLYPHONY_GATEWAY_…`."""

    process: ClassVar[str] = "gateway"

    port: Port = PORTS["gateway"].grpc
    """The gRPC port, for internal systems."""

    metrics_port: Port = PORTS["gateway"].metrics
    """The port of `/metrics`."""

    http_host: str = "127.0.0.1"
    """The address of the HTTP port. Any address but loopback requires `keys_file`."""

    http_port: Port = PORTS["gateway"].http
    """The HTTP port; 0 selects a free one."""

    keys_file: Path | None = None
    """TOML file with the digests of API keys; without it there is one tenant, `default`, and only loopback."""

    allowed_hosts: tuple[HostName, ...] = ()
    """Names of this machine that the `Host` header may have in addition to loopback ones, as a JSON list without ports;
    for a reverse proxy before a gateway without keys. With keys every `Host` is accepted."""

    vision_target: str = f"127.0.0.1:{PORTS['vision'].grpc}"
    """The gRPC target of the vision service: `host:port`, or a name such as `dns:///vision:50051`."""

    speech_target: str = f"127.0.0.1:{PORTS['speech'].grpc}"
    """The gRPC target of the speech service."""

    generation_target: str = f"127.0.0.1:{PORTS['generation'].grpc}"
    """The gRPC target of the generation service."""

    retrieval_target: str = f"127.0.0.1:{PORTS['retrieval'].grpc}"
    """The gRPC target of the retrieval service."""

    database_url: SecretStr = SecretStr("")
    """The records of files and vector stores: `postgresql://user:password@host/database`, which several gateways may
    share, or `memory:`, whose records end with the process. Empty: the gateway has no files and no vector stores."""

    max_database_connections: int = Field(default=8, ge=1)
    """The maximum number of connections of this process to Postgres."""

    unserved_request_engine_seconds: float = Field(default=1.0, gt=0)
    """The offered load, in engine seconds, of a request to a service that has never answered: from this an autoscaler
    scales the service up from zero."""

    fetch_allowed_hosts: tuple[str, ...] = ()
    """Host names and networks that media URLs may point to in addition to public ones, as a JSON list."""

    max_fetch_bytes: int = Field(default=20 * MIB, gt=0)
    """The largest body that is fetched from a URL, in bytes."""

    fetch_timeout_seconds: float = Field(default=10.0, gt=0)
    """The timeout of fetching one URL, redirects included."""

    max_http_connections: int = Field(default=256, gt=0)
    """Open HTTP connections, at most a third of the process's descriptors. Above it the one that has waited longest for
    its client is closed. Each may buffer a MiB of a body while the disk is slow."""

    max_json_body_bytes: int = Field(default=1 * MIB, gt=0)
    """The largest JSON body without media, in bytes."""

    max_chat_body_bytes: int = Field(default=48 * MIB, gt=0)
    """The largest chat request in bytes, with images and recordings as base64."""

    max_body_memory_bytes: int = Field(default=128 * MIB, gt=0)
    """Bytes of request bodies in memory, of all requests together; further requests get 429. A chat with media takes
    about three times its body while it is converted, so that the process stays below 768 MiB."""

    max_body_disk_bytes: int = Field(default=2048 * MIB, gt=0)
    """Bytes of request bodies in temporary files, of all requests together; more get 429. Bodies above 1 MiB
    are received there, so that slow clients hold no memory."""

    body_folder: Path | None = None
    """The folder of these files, which are unnamed; `<home>/data` by default, since `/tmp` may be in memory."""

    min_transfer_bytes_per_second: int = Field(default=1024, gt=0)
    """The pace at which a client must send a body and read an answer, or its connection is closed."""

    transfer_grace_seconds: float = Field(default=30.0, gt=0)
    """The seconds that a client may be behind this pace."""

    max_image_bytes: int = Field(default=20 * MIB, gt=0)
    """The largest uploaded image in bytes."""

    max_audio_bytes: int = Field(default=512 * MIB, gt=0)
    """The largest uploaded recording in bytes."""

    max_file_bytes: int = Field(default=512 * MIB, gt=0)
    """The largest stored file in bytes."""

    max_document_bytes: int = Field(default=8 * MIB, gt=0)
    """The largest text file that is indexed, in bytes."""

    sweep_interval_seconds: float = Field(default=3600.0, gt=0)
    """The interval at which expired files and media are deleted, with the bytes that no file refers to."""

    max_inline_media_bytes: int = Field(default=4 * MIB, gt=0)
    """The largest media in bytes that a message to a service carries; larger ones go through the object store."""

    max_chat_characters: int = Field(default=200_000, gt=0)
    """The longest conversation in characters of text, more than any context window holds."""

    max_media_parts: int = Field(default=16, gt=0)
    """The most images and recordings of one conversation."""

    max_realtime_session_seconds: float = Field(default=3540.0, gt=0)
    """The longest duration of a live session; less than the deadline of StreamingTranscribe, which ends its stream."""

    max_realtime_sessions: int = Field(default=64, gt=0)
    """Live sessions at a time, half of them for one tenant: each may hold two messages in memory."""

    max_realtime_idle_seconds: float = Field(default=300.0, gt=0)
    """The longest time that a live session gets no event from its client before it is closed."""

    max_realtime_message_bytes: int = Field(default=1 * MIB, gt=0)
    """The largest message of a realtime session in bytes: 16 seconds of 24 kHz audio as base64."""

    default_timeout_seconds: float = Field(default=30.0, gt=0)
    """The deadline of a request that no RPC of the contract gives one."""

    file_timeout_seconds: float = Field(default=600.0, gt=0)
    """The deadline of uploading or indexing a file."""

    context_timeout_fraction: float = Field(default=0.6, gt=0, lt=1)
    """The share of a chat's remaining time that its images, recordings and searches may take, so that time is left to
    answer without those that are late."""

    max_image_text_tokens: int = Field(default=400, gt=0)
    """The most tokens of an image's text in a prompt. A laptop prefills about 130 tokens a second."""

    max_transcript_tokens: int = Field(default=200, gt=0)
    """The most tokens of a transcript in a prompt."""

    max_passage_tokens: int = Field(default=120, gt=0)
    """The most tokens of a passage in a prompt; documents are split into passages of this size."""

    default_passages: int = Field(default=4, gt=0, le=50)
    """The number of passages in a prompt where the request sets none."""

    max_cached_results: int = Field(default=1024, ge=0)
    """The number of texts of images and recordings that are cached for later requests of a conversation."""

    health_timeout_seconds: float = Field(default=1.0, gt=0)
    """The timeout of `/readyz` for the health of each service."""

    @model_validator(mode="after")
    def _check_body_budgets(self) -> Self:
        if self.max_body_memory_bytes < self.max_chat_body_bytes:
            raise ValueError("max_body_memory_bytes must be at least max_chat_body_bytes")
        largest = max(self.max_audio_bytes, self.max_file_bytes, self.max_chat_body_bytes)
        if self.max_body_disk_bytes < 2 * largest:  # half of it is for one tenant
            raise ValueError("max_body_disk_bytes must be at least twice the largest body")
        return self
