"""What can be set of a process, read once from the environment in its `__main__.py`.

A field `port` of the vision service is `POLYPHONY_VISION_PORT`, or
`POLYPHONY_PORT` for a value that every process of the machine shares.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

SHARED_PREFIX = "POLYPHONY_"

Port = Annotated[int, Field(ge=0, le=65535)]


def available_cores() -> int:
    """How many cores this process may use: its CPU affinity, cut to its cgroup's quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def default_home() -> Path:
    """Where a machine keeps its models, data and logs unless told otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/polyphony")
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share")) / "polyphony"


class ProcessSettings(BaseSettings):
    """What every process has. A subclass names itself in `process` and adds its own fields."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, use_attribute_docstrings=True)
    process: ClassVar[str] = ""

    host: str = "127.0.0.1"
    """The address to listen on. Loopback unless told otherwise: nothing is open by accident."""

    port: Port = 0
    """The gRPC port; 0 takes a free one."""

    metrics_port: Port = 0
    """The port of `/metrics`; 0 takes a free one."""

    home: Path = Field(default_factory=default_home)
    """The folder of models, data, run and logs."""

    profile: str = "embedded"
    """Which models to load: a row of catalogue/profiles."""

    catalogue: Path | None = None
    """A folder of `models/*.toml` and `profiles/*.toml` that are added to the catalogue, or take the place of its rows:
    models of one's own, without an image of one's own."""

    model_options: dict[str, Any] = {}
    """Options that override those of every model's spec, as JSON: for trials and tests."""

    threads: int = Field(default_factory=available_cores, ge=1)
    """Engine threads of this process, all models together. Engines left to their defaults
    each take every core and halve one another."""

    memory_mb: int = 0
    """Refuse to load models that need more than this together; 0 for no bound."""

    object_store: str = ""
    """Where media live: empty for `<home>/data/objects`, a folder, or an `s3://bucket/prefix` URL."""

    max_message_bytes: int = Field(default=64 << 20, gt=0)
    """The largest gRPC message that is accepted."""

    max_concurrent_calls: int = Field(default=100, gt=0)
    """Calls of one connection that run or wait here at a time."""

    max_connection_age_seconds: float = Field(default=60.0, gt=0)
    """Connections end after this, so that clients find pods that were added since: until then those do nothing."""

    notice_seconds: float = Field(default=0.0, ge=0)
    """How long new calls are still taken after SIGTERM while health says that they should go elsewhere: as long as
    those who send them look away. Nothing where something else waits first, as a cluster's preStop hook does."""

    drain_seconds: float = Field(default=30.0, ge=0)
    """How long running calls may go on after that."""

    tls_certificate: Path | None = None
    """PEM chain; with it the gRPC port speaks TLS and health moves to `health_port`."""

    tls_key: Path | None = None
    """PEM private key of the certificate."""

    tls_authority: Path | None = None
    """PEM of the authority that peers must be signed by: mutual TLS."""

    health_port: Port = 0
    """A plaintext port for health alone, since a kubelet's probe speaks no TLS; used only with TLS."""

    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """The least severe level that is logged."""

    otlp_endpoint: str = ""
    """Where traces are sent, such as `http://collector:4317`; empty for nowhere."""

    otlp_sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """How many of the traces that begin here are sent; for those that began elsewhere, the caller has decided."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        files = {"tls_certificate": self.tls_certificate, "tls_key": self.tls_key, "tls_authority": self.tls_authority}
        missing = [name for name, path in files.items() if path is None]
        if 0 < len(missing) < len(files):
            raise ValueError(f"TLS is mutual and takes three files; not set: {', '.join(missing)}")
        return self

    @property
    def models_dir(self) -> Path:
        """The folder of model folders."""
        return self.home / "models"

    @property
    def object_store_url(self) -> str:
        """Where media live, resolved."""
        return self.object_store or str(self.home / "data" / "objects")

    @property
    def folders(self) -> Mapping[str, Path]:
        """The folders that fill up, by what is in them."""
        objects = {} if "://" in self.object_store_url else {"objects": Path(self.object_store_url)}
        return {"models": self.models_dir, **objects}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is passed in, then this process's variables, then the shared ones."""
        own = EnvSettingsSource(settings_cls, env_prefix=f"{SHARED_PREFIX}{cls.process.upper()}_")
        shared = EnvSettingsSource(settings_cls, env_prefix=SHARED_PREFIX)
        return init_settings, own, shared
