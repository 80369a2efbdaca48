"""The commands `plan` and `simulate`, which `polyphony` includes."""

import typer

from capacity.planning.command import make_plan
from capacity.simulation.command import simulate

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command(name="plan")(make_plan)
app.command(name="simulate")(simulate)
