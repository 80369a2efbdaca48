"""The interface of a drill, and its result."""

from dataclasses import dataclass
from typing import Protocol

from fleet.temporary import TemporaryFleet


@dataclass(frozen=True)
class DrillResult:
    """What happened in a drill.

    Attributes:
        happened: What happened, with figures, in one or two lines.
        kept: Whether the promise was kept.
    """

    happened: str
    kept: bool


class Skipped(Exception):
    """The drill cannot run on this machine or fleet; the text says why."""


class Drill(Protocol):
    """A module of this package, one for each promise. It leaves the fleet ready, as it found it.

    Attributes:
        PROMISE: What must hold, in one sentence.
        SHORT: Whether it is part of the short form, which runs in `make test` within a minute.
    """

    PROMISE: str
    SHORT: bool

    def run(self, fleet: TemporaryFleet) -> DrillResult:
        """Inject the fault and observe the fleet.

        Raises:
            Skipped: It cannot run here.
        """
        ...
