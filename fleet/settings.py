"""What can be set of the fleet, read once from the environment by the command and by its supervisor."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator

from fleet.cli.errors import FleetError
from servekit.ops.settings import SHARED_PREFIX, ProcessSettings


class FleetSettings(ProcessSettings):
    """Settings of `polyphony`; the fields of the services are set by `POLYPHONY_<PROCESS>_<FIELD>`."""

    process: ClassVar[str] = "fleet"

    ports: Literal["fixed", "free"] = "fixed"
    """`free` takes free ports instead of the documented ones, so that fleets stand side by side."""

    start_seconds: float = Field(default=120.0, gt=0)
    """How long `up` waits for every process to be ready."""

    url: str = ""
    """The gateway that `ask` talks to; empty for the one of this home."""

    api_key: SecretStr = SecretStr("")
    """The key that `ask` and `canary` show to the gateway. White space around it goes: files end with a newline."""

    postgres_user: str = "nobody"
    """The account that Postgres runs as when the fleet is started by root, as whom it refuses to run."""

    mirror: str = ""
    """Where weights are looked for before the catalogue's own sources: `s3://bucket/prefix`, `https://host/path` or a
    folder, in which a file lies at `<model id>/<path>`. A folder of models that was pulled is laid out just so."""

    hub_endpoint: str = Field(
        default="https://huggingface.co",
        validation_alias=AliasChoices("POLYPHONY_FLEET_HUB_ENDPOINT", "POLYPHONY_HUB_ENDPOINT", "HF_ENDPOINT"),
    )
    """The model hub, or a mirror of it."""

    hub_token: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("POLYPHONY_FLEET_HUB_TOKEN", "POLYPHONY_HUB_TOKEN", "HF_TOKEN"),
    )
    """Shown to the hub for models that ask for it."""

    environment: Mapping[str, str] = Field(default_factory=lambda: dict(os.environ), repr=False, exclude=True)
    """What the processes inherit."""

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, key: SecretStr) -> SecretStr:
        """The key without white space around it; raises FleetError, which does not show it as a ValueError would."""
        bare = key.get_secret_value().strip()
        if not (bare.isascii() and bare.isprintable()):
            raise FleetError(
                "the API key (POLYPHONY_FLEET_API_KEY, or --key) holds what no HTTP header may: control characters, "
                "line ends within, or letters beyond ASCII"
            )
        return SecretStr(bare)

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        """For each process to say: the fleet itself listens nowhere, and its processes may share only the authority."""
        return self

    @classmethod
    def of(cls, profile: str) -> Self:
        """The settings, with the profile that a command was told, if it was told one."""
        return cls(profile=profile) if profile else cls()

    @property
    def run_dir(self) -> Path:
        """The folder of what lives as long as the fleet does."""
        return self.home / "run"

    @property
    def logs_dir(self) -> Path:
        """The folder of one log a process."""
        return self.home / "logs"

    def chosen(self, process: str, field: str) -> str | None:
        """What the user set for a field of a process; None if nothing."""
        return self.environment.get(f"{SHARED_PREFIX}{process}_{field}".upper())
