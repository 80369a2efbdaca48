"""The commands of capacity; `polyphony` adds them to its own."""

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
