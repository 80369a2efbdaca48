"""Errors of `polyphony plan` and `polyphony simulate`."""


class CapacityError(Exception):
    """An expected error with what to do about it; the command prints the text and exits with 1."""
