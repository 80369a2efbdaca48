"""The temporary fleets of tests."""

from fleet.temporary import POLYPHONY, TemporaryFleet, new_home, running

Fleet = TemporaryFleet

__all__ = ["POLYPHONY", "Fleet", "new_home", "running"]
