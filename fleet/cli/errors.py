"""What the `polyphony` command says when it cannot do as it was told."""


class FleetError(Exception):
    """A failure, with what to do about it; the command prints the text and exits with 1."""
