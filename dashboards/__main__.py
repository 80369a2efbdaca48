"""`python -m dashboards` writes dashboards and rules into the chart; `--check` only says whether they are fresh."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.boards import boards
from dashboards.rules import groups

CHART = Path(__file__).parent.parent / "charts" / "polyphony"


def files() -> dict[Path, str]:
    """Every file, as it should be."""
    made = {
        CHART / "dashboards" / f"{name}.json": json.dumps(board, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for name, board in boards().items()
    }
    return made | {CHART / "rules" / f"{group.name}.yaml": group.yaml() for group in groups()}


def main() -> None:
    """Write the files, or exit with 1 where one is stale, missing or too many."""
    parser = ArgumentParser("python -m dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file is stale")
    only_check = parser.parse_args().check
    made = files()
    there = {*CHART.glob("dashboards/*.json"), *CHART.glob("rules/*.yaml")}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    too_many = sorted(there - made.keys())
    if only_check and (stale or too_many):
        names = ", ".join(str(path.relative_to(CHART)) for path in [*stale, *too_many])
        sys.exit(f"{names}: stale; run python -m dashboards")
    for path in too_many:
        path.unlink()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path])


if __name__ == "__main__":
    main()
