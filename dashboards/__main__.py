"""`python -m dashboards` writes dashboards and rules into the chart; `--check` only reports stale files."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.boards import boards
from dashboards.rules import groups

CHART = Path(__file__).parent.parent / "charts" / "polyphony"


def files() -> dict[Path, str]:
    """The expected content of every file."""
    made = {
        CHART / "dashboards" / f"{name}.json": json.dumps(board, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for name, board in boards().items()
    }
    return made | {CHART / "rules" / f"{group.name}.yaml": group.yaml() for group in groups()}


def main() -> None:
    """Write the files; with `--check`, exit with 1 if one is stale, missing or superfluous."""
    parser = ArgumentParser("python -m dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file is stale")
    only_check = parser.parse_args().check
    made = files()
    present = {*CHART.glob("dashboards/*.json"), *CHART.glob("rules/*.yaml")}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    superfluous = sorted(present - made.keys())
    if only_check and (stale or superfluous):
        names = ", ".join(str(path.relative_to(CHART)) for path in [*stale, *superfluous])
        sys.exit(f"{names}: stale; run python -m dashboards")
    for path in superfluous:
        path.unlink()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path])


if __name__ == "__main__":
    main()
