"""The state of a scheduler, to read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a scheduler at one moment; costs are in the model's unit.

    Attributes:
        queued_items: Items in the queue.
        queued_cost: Their cost together.
        prepared_cost: Cost that has left the queue and waits, prepared, for an engine.
        reserved_cost: Cost that was admitted for items that are yet to arrive.
        runs: Runs of engines that are going on.
        running_items: Items in these runs.
        running_cost: Their cost together.
        engines_alive: Engines, or slots, that are warm and running.
        seconds_per_cost: Recent engine seconds per cost.
        full_seconds_per_cost: Engine seconds per cost at full load, which offered load is counted by.
        seconds_per_run: Recent seconds of one run of a batch; 0 for slots.
        wait_seconds: Seconds until an engine takes what arrives now; 0 while one is free.
    """

    queued_items: int
    queued_cost: float
    prepared_cost: float
    reserved_cost: float
    runs: int
    running_items: int
    running_cost: float
    engines_alive: int
    seconds_per_cost: float
    full_seconds_per_cost: float
    seconds_per_run: float
    wait_seconds: float
