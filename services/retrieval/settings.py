"""What can be set of the retrieval service."""

from typing import ClassVar

from pydantic import Field, SecretStr

from servekit.models.backend import Provider
from servekit.ops.settings import Port, ProcessSettings


class RetrievalSettings(ProcessSettings):
    """The knobs of `POLYPHONY_RETRIEVAL_…`."""

    process: ClassVar[str] = "retrieval"

    port: Port = 50054
    metrics_port: Port = 9154

    database_url: SecretStr = SecretStr("")
    """Where vectors are kept: a Postgres that has pgvector, `postgresql://user:password@host/database`.
    Without one the service embeds, and keeps nothing."""

    database_connections: int = Field(default=8, ge=1)
    """How many connections to Postgres this process may hold."""

    provider: Provider = "cpu"
    """Where onnxruntime runs the networks. On a CPU every thread is an engine of its own; a GPU has one."""

    max_text_characters: int = Field(default=100_000, gt=0)
    """The longest text that is read. What exceeds a model's window is cut, but tokenised first."""

    max_batch_tokens: int = Field(default=512, gt=0)
    """What one run of a network may take, padding included. A CPU gains nothing from more,
    and a short query waits behind less; a GPU wants 16,384."""

    max_queue_tokens: int = Field(default=1 << 20, gt=0)
    """What may wait for an engine: two of the largest requests."""

    @property
    def engines(self) -> int:
        """How many threads run each network at once."""
        return self.threads if self.provider == "cpu" else 1
