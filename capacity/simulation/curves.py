"""Service curves: how long an engine takes for a call, and what stands around the engine."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from capacity.errors import CapacityError

Kind = Literal["slots", "batch"]


class Curve(BaseModel):
    """One pod of a service under one kind of call.

    Attributes:
        call: What a call is, in words.
        kind: `slots`: calls run beside one another, each to its own end; `batch`: an engine takes what waits, and
            all of it ends together.
        engines: Slots or engines of a pod: its capacity in engine-seconds a second.
        batch: Calls that one run takes at most; 1 for slots.
        seconds: Pairs (calls that run together, seconds they then take): of one call's stay in its slot, or of a run.
        spread: Standard deviation of a call's work over its mean.
        deadline_seconds: After which nobody waits for the answer.
        queue: Calls that may wait; more are refused.
        schedule_seconds: From an HPA's decision to a started container: scheduler, image, volume.
        weights_seconds: What the init container takes to pull or check the weights.
        start_seconds: From the process's start until it is ready.
        cpu_cores: CPU that the pod requests.
        cpu_per_engine_second: CPU seconds that a second of a busy engine takes.
        cpu_per_call: CPU seconds that a call takes beside its engine.
        weights_bytes: Of the weights that a new pod pulls.
        source: Where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    call: str
    kind: Kind
    engines: int = Field(gt=0)
    batch: int = Field(default=1, gt=0)
    seconds: tuple[tuple[float, float], ...] = Field(min_length=1)
    spread: float = Field(ge=0, le=2)
    deadline_seconds: float = Field(gt=0)
    queue: float = Field(gt=0)
    schedule_seconds: float = Field(ge=0)
    weights_seconds: float = Field(ge=0)
    start_seconds: float = Field(ge=0)
    cpu_cores: float = Field(gt=0)
    cpu_per_engine_second: float = Field(ge=0)
    cpu_per_call: float = Field(ge=0)
    weights_bytes: int = Field(default=0, ge=0)
    source: str = ""

    @model_validator(mode="after")
    def _grows(self) -> "Curve":
        together = [row[0] for row in self.seconds]
        if together[0] != 1 or sorted(set(together)) != together or min(row[1] for row in self.seconds) <= 0:
            raise ValueError("seconds are pairs: calls together from 1 upwards, and more than 0 seconds")
        if self.kind == "slots" and self.batch != 1:
            raise ValueError("slots take a call each: batch is 1")
        return self

    def taken(self, together: float) -> float:
        """Seconds that so many calls take together; a straight line between what is known, and beyond it."""
        known = np.array(self.seconds)
        if together <= known[-1, 0]:
            return float(np.interp(together, known[:, 0], known[:, 1]))
        slope = (known[-1, 1] - known[-2, 1]) / (known[-1, 0] - known[-2, 0]) if len(known) > 1 else known[0, 1]
        return float(known[-1, 1] + max(0.0, slope) * (together - known[-1, 0]))

    @property
    def rate(self) -> float:
        """Calls a second of a pod that is full."""
        together = self.batch if self.kind == "batch" else self.engines
        return self.engines * self.batch / self.taken(together)

    @property
    def lead_seconds(self) -> float:
        """From an HPA's decision to a pod that answers."""
        return self.schedule_seconds + self.weights_seconds + self.start_seconds


class Curves(BaseModel):
    """A file of curves.

    Attributes:
        title: Where they hold.
        date: When they were measured or assumed.
        machine: Of what.
        assumed: Whether numbers stand in that nobody measured here.
        services: The curves by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    date: str
    machine: str
    assumed: bool
    services: Mapping[str, Curve]

    def curve(self, service: str) -> Curve:
        """One curve.

        Raises:
            CapacityError: There is none of this name.
        """
        if service not in self.services:
            raise CapacityError(f"there is no curve {service!r} in {self.title!r}; there is {', '.join(self.services)}")
        return self.services[service]


def load(name: str) -> Curves:
    """A file of `capacity/curves/`.

    Raises:
        CapacityError: There is none of this name, or it is not a curve.
    """
    folder = files("capacity").joinpath("curves")
    names = sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))
    if name not in names:
        raise CapacityError(f"there are no curves {name!r}; there are {', '.join(names)}")
    try:
        return Curves.model_validate(tomllib.loads(folder.joinpath(f"{name}.toml").read_text()))
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise CapacityError(f"the curves {name!r} are wrong: {error}") from error
