"""The error of the fleet and of the `polyphony` command."""


class FleetError(Exception):
    """An expected error with what to do about it; the command prints the text and exits with 1."""
