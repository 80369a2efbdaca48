"""The `polyphony` command."""

import sys

import typer
from rich.console import Console

from fleet import models
from fleet.errors import FleetError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(models.app, name="models")


def main() -> None:
    """Run the command; a failure that is foreseen prints its text and exits with 1."""
    try:
        app()
    except FleetError as error:
        Console(stderr=True).print(f"polyphony: {error}", highlight=False, markup=False, soft_wrap=True)
        sys.exit(1)
