"""`python -m drill [NAME ...]`: inject faults into a fleet of its own; exits with 1 if a promise was broken."""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from drill import (
    failed_attach,
    full_disk,
    hung_processes,
    hung_supervisor,
    killed_attach,
    killed_processes,
    killed_supervisor,
    slow_clients,
    upload_races,
)
from drill.home import small_home
from drill.result import Drill, DrillResult, Skipped
from fleet.temporary import TemporaryFleet, running

DRILLS: dict[str, Drill] = {
    "killed_processes": killed_processes,
    "hung_processes": hung_processes,
    "hung_supervisor": hung_supervisor,
    "slow_clients": slow_clients,
    "full_disk": full_disk,
    "upload_races": upload_races,
    "failed_attach": failed_attach,
    "killed_attach": killed_attach,
    "killed_supervisor": killed_supervisor,
}
SETTINGS = {
    "POLYPHONY_CATALOGUE": str(Path(__file__).with_name("catalogue")),
    "POLYPHONY_FLEET_LIVENESS_PERIOD_SECONDS": "1",
    "POLYPHONY_FLEET_LIVENESS_TIMEOUT_SECONDS": "3",
    "POLYPHONY_FLEET_LIVENESS_FAILURE_THRESHOLD": "2",
}


@dataclass(frozen=True)
class DrillRow:
    """A row of the report.

    Attributes:
        drill: The name of the drill.
        promise: What must hold.
        happened: What happened, or why the drill was skipped.
        verdict: `kept`, `broken` or `skipped`.
        seconds: The duration.
    """

    drill: str
    promise: str
    happened: str
    verdict: str
    seconds: float


def run_drill(name: str, fleet: TemporaryFleet) -> DrillRow:
    """Run one drill; an error in it is a broken promise."""
    drill, began = DRILLS[name], time.monotonic()
    try:
        result = drill.run(fleet)
        verdict = "kept" if result.kept else "broken"
    except Skipped as reason:
        result, verdict = DrillResult(str(reason), True), "skipped"
    except Exception as error:  # the other drills run all the same
        result, verdict = DrillResult(f"{type(error).__name__}: {error}", False), "broken"
    return DrillRow(name, drill.PROMISE, result.happened, verdict, round(time.monotonic() - began, 1))


def report_table(rows: list[DrillRow]) -> Table:
    """The rows as a table."""
    table = Table(show_lines=True)
    for heading in ("drill", "promise", "what happened", "", "s"):
        table.add_column(heading, no_wrap=heading in ("drill", "", "s"))
    colours = {"kept": "green", "broken": "red", "skipped": "yellow"}
    for row in rows:
        verdict = f"[{colours[row.verdict]}]{row.verdict}[/]"
        table.add_row(row.drill, row.promise, row.happened, verdict, f"{row.seconds:.1f}")
    return table


def main() -> None:
    """Run the named drills, or all."""
    parser = argparse.ArgumentParser(prog="python -m drill", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(DRILLS))
    parser.add_argument("--short", action="store_true", help="on fakes alone, without Postgres, within a minute")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if unknown := set(options.names) - set(DRILLS):
        parser.error(f"NAME must be one of {', '.join(DRILLS)}, got {', '.join(sorted(unknown))}")
    names = options.names or [name for name, drill in DRILLS.items() if drill.SHORT or not options.short]
    console = Console(stderr=True)
    settings = SETTINGS | {"POLYPHONY_PROFILE": "fake" if options.short else "drill"}
    rows: list[DrillRow] = []
    with console.status("starting") as shown, small_home() as home, running(home, **settings) as fleet:
        for name in names:
            shown.update(name)
            rows.append(run_drill(name, fleet))
    if options.json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    else:
        Console().print(report_table(rows), highlight=False)
    sys.exit(any(row.verdict == "broken" for row in rows))


if __name__ == "__main__":
    main()
