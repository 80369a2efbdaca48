"""What one call of each kind costs its engine: a file of `capacity/curves` per profile, as data.

```toml
title = "The embedded profile on two cores"

[services.ocr]            # the kind of call, as `--rate ocr=5` names it
service = "vision"        # who answers it
engine_seconds = 0.45     # of one engine, for one call
engines = 2               # of one pod: its capacity in engine-seconds a second
start_seconds = 17        # from a new pod to its first answer
deadline_seconds = 30     # of the call
source = "measured: make bench, 2026-11-21"   # or "assumption: ..."
```
"""

import tomllib
from collections.abc import Mapping
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field

from servekit.catalogue import Service

CURVES = files("capacity") / "curves"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Curve(_Row):
    """One kind of call.

    Attributes:
        service: Who answers it.
        engine_seconds: What a call takes of one engine, in seconds.
        engines: Engines of one pod: its capacity in engine-seconds a second.
        start_seconds: From a new pod to its first answer.
        deadline_seconds: Of a call.
        source: `measured: ...` says where and when, `assumption: ...` says from what.
    """

    service: Service
    engine_seconds: float = Field(gt=0)
    engines: float = Field(gt=0)
    start_seconds: float = Field(ge=0)
    deadline_seconds: float = Field(gt=0)
    source: str = Field(pattern="^(measured|assumption): ")

    @property
    def assumed(self) -> bool:
        """Whether nobody measured it."""
        return self.source.startswith("assumption")


class Curves(_Row):
    """The calls of one profile, by kind."""

    title: str
    services: Mapping[str, Curve]


def names() -> list[str]:
    """The profiles that have curves, sorted."""
    return sorted(row.name.removesuffix(".toml") for row in CURVES.iterdir() if row.name.endswith(".toml"))


def curves(profile: str) -> Curves:
    """The curves of one profile.

    Raises:
        FileNotFoundError: It has none.
    """
    return Curves.model_validate(tomllib.loads((CURVES / f"{profile}.toml").read_text()))
