"""What `polyphony plan` and `polyphony simulate` say when they cannot do as they were told."""


class CapacityError(Exception):
    """A failure, with what to do about it; the command prints the text and exits with 1."""
