"""The settings of the retrieval service."""

from typing import ClassVar

from pydantic import Field, SecretStr

from servekit.models.backend import Provider
from servekit.ops.ports import PORTS
from servekit.ops.settings import Port, ProcessSettings


class RetrievalSettings(ProcessSettings):
    """Settings of the retrieval service, by `POLYPHONY_RETRIEVAL_<FIELD>`."""

    process: ClassVar[str] = "retrieval"

    port: Port = PORTS["retrieval"].grpc
    metrics_port: Port = PORTS["retrieval"].metrics

    database_url: SecretStr = SecretStr("")
    """The vector store: `postgresql://user:password@host/database`, a Postgres that has pgvector, or `memory:`, whose
    collections end with the process. Empty: the service embeds, and stores no collections."""

    max_database_connections: int = Field(default=8, ge=1)
    """The maximum number of connections of this process to Postgres."""

    max_replacement_bytes: int = Field(default=256 << 20, gt=0)
    """The most bytes of new points that the running calls of ReplacePoints hold together until they write them. A text
    file of 8 MiB needs about 60 MiB, at most 150 MiB."""

    provider: Provider = "cpu"
    """Where ONNX Runtime runs the networks: on a CPU each thread is an engine, a GPU has one engine."""

    max_text_characters: int = Field(default=100_000, gt=0)
    """The maximum length of a text. A text that exceeds the model's window is truncated after it is tokenised."""

    max_batch_tokens: int = Field(default=512, gt=0)
    """The maximum number of tokens in one run of a network, padding included. A CPU gains nothing from more, and a
    short query waits longer behind a large batch; a GPU needs about 16,384."""

    max_queue_tokens: int = Field(default=1 << 20, gt=0)
    """The maximum number of queued tokens: two of the largest requests."""

    @property
    def engines(self) -> int:
        """The number of threads that run each network."""
        return self.threads if self.provider == "cpu" else 1
