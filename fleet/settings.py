"""Settings of the fleet, read once from the environment by the command and by its supervisor."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator

from fleet.errors import FleetError
from servekit.ops.settings import SHARED_PREFIX, ProcessSettings


class FleetSettings(ProcessSettings):
    """Settings of `polyphony`; the fields of the services are set by `POLYPHONY_<PROCESS>_<FIELD>`."""

    process: ClassVar[str] = "fleet"

    ports: Literal["fixed", "free"] = "fixed"
    """`free` selects free ports instead of the documented ones, so that several fleets can run on one machine."""

    start_timeout_seconds: float = Field(default=120.0, gt=0)
    """The timeout of `up` for every process to become ready."""

    liveness_period_seconds: float = Field(default=5.0, gt=0)
    """The time between two health checks of a process by the supervisor."""

    liveness_timeout_seconds: float = Field(default=5.0, gt=0)
    """The time for a process to answer a health check; any answer counts."""

    liveness_failure_threshold: int = Field(default=3, ge=0)
    """The number of consecutive unanswered health checks after which a process counts as hung and is restarted; 0 to
    restart none, such as to stop one in a debugger."""

    liveness_grace_seconds: float = Field(default=600.0, gt=0)
    """The time after its start in which a process that was not ready yet may leave health checks unanswered."""

    gateway_url: str = ""
    """The URL of the gateway that the command calls; empty for the one of this home."""

    api_key: SecretStr = SecretStr("")
    """The API key that the command sends to the gateway. White space around it is removed, since files end with a
    newline."""

    postgres_user: str = "nobody"
    """The account that runs Postgres when root starts the fleet, since Postgres refuses to run as root."""

    weights_mirror_url: str = ""
    """A mirror that is tried before the catalogue's own sources of weights: `s3://bucket/prefix`, `https://host/path`
    or a folder, with each file at `<model id>/<path>`. A folder of pulled models has this layout."""

    hub_endpoint: str = Field(
        default="https://huggingface.co",
        validation_alias=AliasChoices("POLYPHONY_FLEET_HUB_ENDPOINT", "POLYPHONY_HUB_ENDPOINT", "HF_ENDPOINT"),
    )
    """The URL of the model hub, or of a mirror of it."""

    hub_token: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("POLYPHONY_FLEET_HUB_TOKEN", "POLYPHONY_HUB_TOKEN", "HF_TOKEN"),
    )
    """The token for models of the hub that require one."""

    environment: Mapping[str, str] = Field(default_factory=lambda: dict(os.environ), repr=False, exclude=True)
    """The environment that the processes inherit."""

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, key: SecretStr) -> SecretStr:
        """Remove white space around the key. A FleetError, unlike a ValueError, does not print the key."""
        bare = key.get_secret_value().strip()
        if not (bare.isascii() and bare.isprintable()):
            raise FleetError(
                "the API key (POLYPHONY_FLEET_API_KEY, or --key) must be printable ASCII: an HTTP header may hold no "
                "control characters or line ends"
            )
        return SecretStr(bare)

    @model_validator(mode="after")
    def _check_tls_files(self) -> Self:
        """Accept an incomplete set: the fleet listens on no port, and its processes may share only the CA file."""
        return self

    @classmethod
    def of(cls, profile: str) -> Self:
        """The settings with the profile of a command's option, if it was given."""
        return cls(profile=profile) if profile else cls()

    @property
    def run_dir(self) -> Path:
        """The folder of files that exist while the fleet runs."""
        return self.home / "run"

    @property
    def logs_dir(self) -> Path:
        """The folder with one log of each process."""
        return self.home / "logs"

    def chosen(self, process: str, field: str) -> str | None:
        """The environment variable of a field of a process; None if it is not set."""
        return self.environment.get(f"{SHARED_PREFIX}{process}_{field}".upper())
