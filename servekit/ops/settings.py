"""Settings of a process, read once from the environment in its `__main__.py`.

The field `port` of the vision service is read from `POLYPHONY_VISION_PORT`, or from `POLYPHONY_PORT`, which every
process of the machine shares.
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
    """The number of cores that this process may use: its CPU affinity, limited by its cgroup's quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def default_home() -> Path:
    """The default folder of models, data and logs."""
    if os.geteuid() == 0:
        return Path("/var/lib/polyphony")
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share")) / "polyphony"


class ProcessSettings(BaseSettings):
    """Settings that every process has. A subclass sets `process` to its name and adds fields."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, use_attribute_docstrings=True)
    process: ClassVar[str] = ""

    host: str = "127.0.0.1"
    """The address to listen on. The default is loopback, so that no port is open by accident."""

    port: Port = 0
    """The gRPC port; 0 selects a free one."""

    metrics_port: Port = 0
    """The port of `/metrics`; 0 selects a free one."""

    home: Path = Field(default_factory=default_home)
    """The folder that holds `models`, `data`, `run` and `logs`."""

    profile: str = "embedded"
    """The profile, which names the models to load: a file of `catalogue/profiles`."""

    catalogue: Path | None = None
    """A folder of `models/*.toml` and `profiles/*.toml` that extend or override the catalogue, so that models can be
    added without building an image."""

    model_options: dict[str, Any] = {}
    """Options that override those of every model's spec, as JSON; for experiments and tests."""

    threads: int = Field(default_factory=available_cores, ge=1)
    """Engine threads of this process, all models together. With the engines' own defaults each would use every core and
    slow the others down."""

    max_model_memory_mb: int = 0
    """Memory in MiB that the models of this process may take together; 0 means no limit. Models that are loaded at
    first use are unloaded to stay within it."""

    object_store: str = ""
    """The store of media: empty for `<home>/data/objects`, a folder, or an `s3://bucket/prefix` URL."""

    max_message_bytes: int = Field(default=64 << 20, gt=0)
    """The largest gRPC message that is accepted, in bytes."""

    max_concurrent_streams: int = Field(default=100, gt=0)
    """Concurrent requests of one HTTP/2 connection; the client queues further ones."""

    max_connections: int = Field(default=1024, gt=0)
    """Open gRPC connections; further ones are closed at once. A client holds one to each address of a service."""

    max_concurrent_rpcs: int = Field(default=512, gt=0)
    """Concurrent calls of all connections, whose messages are in memory; further calls get RESOURCE_EXHAUSTED."""

    max_connection_age_seconds: float = Field(default=60.0, gt=0)
    """The age at which a connection is closed gracefully, so that clients reconnect and reach pods that were added."""

    pre_stop_delay_seconds: float = Field(default=0.0, ge=0)
    """Time after SIGTERM in which new requests are still accepted while health reports not serving, so that load
    balancers can react. 0 where something else waits first, such as a preStop hook of Kubernetes."""

    drain_timeout_seconds: float = Field(default=30.0, ge=0)
    """Time for running requests to finish after the pre-stop delay."""

    tls_certificate_file: Path | None = None
    """PEM file of the certificate chain. With it the gRPC port uses mutual TLS and health moves to `health_port`."""

    tls_key_file: Path | None = None
    """PEM file of the certificate's private key."""

    tls_ca_file: Path | None = None
    """PEM file of the CA that must have signed the certificates of peers."""

    health_port: Port = 0
    """A plaintext port for health checks, since a kubelet's probe cannot use TLS; open only with TLS."""

    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """The lowest level that is logged."""

    otlp_endpoint: str = ""
    """The OTLP endpoint that receives traces, such as `http://collector:4317`; empty to export none."""

    otlp_sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """The share of traces exported, of those that begin in this process; for others the caller has decided."""

    @model_validator(mode="after")
    def _check_tls_files(self) -> Self:
        names = ("tls_certificate_file", "tls_key_file", "tls_ca_file")
        missing = [name for name in names if getattr(self, name) is None]
        if 0 < len(missing) < len(names):
            raise ValueError(f"mutual TLS needs three files; not set: {', '.join(missing)}")
        return self

    @property
    def models_dir(self) -> Path:
        """The folder that holds a folder for each model."""
        return self.home / "models"

    @property
    def object_store_url(self) -> str:
        """The store of media, with the default filled in."""
        return self.object_store or str(self.home / "data" / "objects")

    @property
    def folders(self) -> Mapping[str, Path]:
        """The folders whose disk usage is monitored, by name."""
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
        """The sources by precedence: arguments, variables of this process, shared variables."""
        own = EnvSettingsSource(settings_cls, env_prefix=f"{SHARED_PREFIX}{cls.process.upper()}_")
        shared = EnvSettingsSource(settings_cls, env_prefix=SHARED_PREFIX)
        return init_settings, own, shared
