"""Service curves: the cost of a request of each kind, and the properties of its pod; one file per profile.

```toml
title = "The embedded profile on two cores"
date = "2026-11-21"
machine = "2 cores of an AMD EPYC"

[services.ocr]            # the kind of call, as `--service ocr` and `--rate ocr=5` name it
service = "vision"        # the service
call = "a third of a photographed page"
kind = "slots"
engines = 1
seconds = [[1, 0.45]]
...
source = "measured: make bench, 2026-11-21"   # or "assumption: ..."
```
"""

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["slots", "batch"]
CURVES = files("capacity") / "curves"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Curve(_Row):
    """One pod of a service under one kind of request.

    Attributes:
        service: The service.
        call: A description of the request.
        tokens: The tokens that a request generates; 0 if it takes no slot of a language model.
        kind: `slots`: calls run concurrently, each to its own end; `batch`: an engine takes the queued calls, and
            all of it ends together.
        engines: Slots, or engines, of a pod: its capacity in engine-seconds a second.
        batch: The most requests of one run; 1 for slots.
        seconds: Pairs (calls that run together, seconds they then take): of one call's stay in its slot, or of a run.
        spread: Standard deviation of a request's work over its mean.
        deadline_seconds: The timeout of a request.
        queue: The most queued requests; more are rejected.
        schedule_seconds: From an HPA's decision to a started container: scheduler, image, volume.
        weights_seconds: The time of the init container to pull or verify the weights.
        load_seconds: The time from the process's start until it is ready.
        cpu_cores: The CPU request of the pod.
        cpu_per_engine_second: CPU seconds that a second of a busy engine takes.
        cpu_per_call: CPU seconds of a request outside of its engine.
        weights_bytes: The bytes of the weights that a new pod pulls.
        source: `measured: ...` says where and when, `assumption: ...` says from what.
    """

    service: str
    call: str
    tokens: int = Field(default=0, ge=0)
    kind: Kind
    engines: int = Field(gt=0)
    batch: int = Field(default=1, gt=0)
    seconds: tuple[tuple[float, float], ...] = Field(min_length=1)
    spread: float = Field(ge=0, le=2)
    deadline_seconds: float = Field(gt=0)
    queue: float = Field(gt=0)
    schedule_seconds: float = Field(ge=0)
    weights_seconds: float = Field(ge=0)
    load_seconds: float = Field(ge=0)
    cpu_cores: float = Field(gt=0)
    cpu_per_engine_second: float = Field(ge=0)
    cpu_per_call: float = Field(ge=0)
    weights_bytes: int = Field(default=0, ge=0)
    source: str = Field(pattern="^(measured|assumption): ")

    @model_validator(mode="after")
    def _grows(self) -> "Curve":
        together = [row[0] for row in self.seconds]
        if together[0] != 1 or sorted(set(together)) != together or min(row[1] for row in self.seconds) <= 0:
            raise ValueError("seconds are pairs: calls together from 1 upwards, and more than 0 seconds")
        if self.kind == "slots" and self.batch != 1:
            raise ValueError("slots take a call each: batch is 1")
        if self.kind != "slots" and self.tokens:
            raise ValueError("texts are written in slots: only those have tokens")
        return self

    def taken(self, together: float) -> float:
        """The seconds of this many concurrent requests, by linear interpolation and extrapolation."""
        known = np.array(self.seconds)
        if together <= known[-1, 0]:
            return float(np.interp(together, known[:, 0], known[:, 1]))
        slope = (known[-1, 1] - known[-2, 1]) / (known[-1, 0] - known[-2, 0]) if len(known) > 1 else known[0, 1]
        return float(known[-1, 1] + max(0.0, slope) * (together - known[-1, 0]))

    @property
    def rate(self) -> float:
        """Requests per second of a fully used pod."""
        together = self.batch if self.kind == "batch" else self.engines
        return self.engines * self.batch / self.taken(together)

    @property
    def together(self) -> int:
        """Concurrent requests of a fully used pod."""
        return self.engines * self.batch

    def limited(self, slots: int) -> "Curve":
        """The same pod with at most this many slots."""
        return self.model_copy(update={"engines": min(slots, self.engines)})

    def grouped(self, calls: int) -> "Curve":
        """The same pod, where one simulated call represents `calls` concurrent ones.

        Raises:
            ValueError: The engines or the batch of a pod are no multiple of `calls`.
        """
        room = self.batch if self.kind == "batch" else self.engines
        if room % calls:
            raise ValueError(f"calls must divide {room}, got {calls}")
        update: dict[str, object] = {"batch": room // calls} if self.kind == "batch" else {"engines": room // calls}
        update["seconds"] = tuple((float(n), self.taken(n * calls)) for n in range(1, room // calls + 1))
        update["queue"] = self.queue / calls
        update["spread"] = self.spread / calls**0.5
        update["cpu_per_call"] = self.cpu_per_call * calls
        update["cpu_per_engine_second"] = self.cpu_per_engine_second * (calls if self.kind == "slots" else 1)
        return self.model_copy(update=update)

    def bundled(self, calls: int) -> "Curve":
        """The same pod, where one simulated call represents `calls` one after another."""
        update: dict[str, object] = {"seconds": tuple((together, calls * taken) for together, taken in self.seconds)}
        update["queue"] = self.queue / calls
        update["spread"] = self.spread / calls**0.5
        update["cpu_per_call"] = self.cpu_per_call * calls
        return self.model_copy(update=update)

    @property
    def engine_seconds(self) -> float:
        """Engine seconds of one request in a fully used pod."""
        return self.engines / self.rate

    @property
    def start_seconds(self) -> float:
        """The time from the decision for a new pod until it serves."""
        return self.schedule_seconds + self.weights_seconds + self.load_seconds

    @property
    def assumed(self) -> bool:
        """Whether it is assumed, not measured."""
        return self.source.startswith("assumption")


class Curves(_Row):
    """The curves of one profile, by kind of request.

    Attributes:
        title: The setting for which they hold.
        date: When they were measured, or assumed.
        machine: The machine of the measurement.
        also: Other profiles with the same curves.
    """

    title: str
    date: str
    machine: str
    also: tuple[str, ...] = ()
    services: Mapping[str, Curve]


def names() -> list[str]:
    """The profiles that have curves, sorted."""
    return sorted(profile for name, row in _files() for profile in (name, *row.also))


def curves(profile: str) -> Curves:
    """The curves of one profile.

    Raises:
        FileNotFoundError: It has none.
    """
    for name, row in _files():
        if profile in (name, *row.also):
            return row
    raise FileNotFoundError(f"{profile}.toml")


def _files() -> Iterator[tuple[str, Curves]]:
    for file in CURVES.iterdir():
        if file.name.endswith(".toml"):
            yield file.name.removesuffix(".toml"), Curves.model_validate(tomllib.loads(file.read_text()))
