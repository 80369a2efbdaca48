"""`python -m benchmarks.soak --minutes 20`: valid and invalid calls for a long time; memory must stay constant."""

import argparse
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable

from openai import OpenAI
from rich.console import Console
from rich.table import Table

from benchmarks.mixed import mixed_calls
from benchmarks.running import fleet
from client.blocking import BlockingConnection
from client.errors import GatewayError
from fleet.temporary import TemporaryFleet

SETTLING = 0.25  # share of the soak after which memory should stay constant
PAUSE_SECONDS = 0.2  # between the calls of a caller, so that the machine is busy but not overloaded


def memory(running: TemporaryFleet) -> dict[str, float]:
    """The proportional set size of each process, in MiB."""
    return {process: float(row["memory_mb"]) for process, row in running.status().items()}


def bad_call(web: BlockingConnection) -> Callable[[int], object]:
    """Calls that must be refused, in turn."""
    cases = itertools.cycle(
        [
            ("/v1/vision/read", {"content": b"not an image", "headers": {"content-type": "image/png"}}),
            ("/v1/chat/completions", {"content": b"{"}),
            ("/v1/embeddings", {"json": {"model": "none", "input": "x"}}),
            ("/v1/chat/completions", {"json": {"messages": [{"role": "user", "content": "x" * 1_000_000}]}}),
        ]
    )

    def call(number: int) -> object:  # noqa: ARG001
        path, body = next(cases)
        try:
            response = web.send("POST", path, **body)  # type: ignore[arg-type]
        except GatewayError as error:
            if 400 <= error.status_code < 500:
                return error
            raise
        raise RuntimeError(f"{path} answered {response.status_code} to a bad request")

    return call


def soak(minutes: float, console: Console) -> int:
    """Call for some minutes; return the number of failures."""
    answered: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    end = time.monotonic() + minutes * 60
    with fleet("embedded") as running:
        address = running.address("gateway")
        with (
            OpenAI(base_url=f"{address}/v1", api_key="none", timeout=120, max_retries=0) as client,
            BlockingConnection(address) as web,
        ):
            calls = {kind: call for kind, (call, _) in mixed_calls(client, web).items()} | {"bad": bad_call(web)}

            def repeat(kind: str) -> None:
                for number in itertools.count():
                    if time.monotonic() > end:
                        return
                    try:
                        calls[kind](number)
                        answered[kind] += 1
                    except Exception as error:
                        failed[kind] += 1
                        console.print(f"{kind}: {error}", highlight=False)
                    time.sleep(PAUSE_SECONDS)

            threads = [threading.Thread(target=repeat, args=(kind,)) for kind in calls]
            for thread in threads:
                thread.start()
            levels = [memory(running)]
            while time.monotonic() < end:
                time.sleep(min(60.0, max(0.1, end - time.monotonic())))
                levels.append(memory(running))
                console.print(
                    f"{len(levels) - 1} min: {sum(levels[-1].values()):,.0f} MiB, {sum(answered.values())} answers"
                )
            for thread in threads:
                thread.join()
    console.print(_table(levels))
    console.print(f"answers {dict(answered)}, failures {dict(failed)}", highlight=False)
    return sum(failed.values())


def _table(levels: list[dict[str, float]]) -> Table:
    settled = levels[max(1, int(len(levels) * SETTLING)) :]
    table = Table("process", "idle", "settled", "highest after", "last", "growth since settled", title="PSS, MiB")
    for process in levels[0]:
        after = [level.get(process, 0.0) for level in settled]
        cells = (levels[0][process], after[0], max(after), after[-1], after[-1] - after[0])
        table.add_row(process, *(f"{cell:,.0f}" for cell in cells))
    total = [sum(level.values()) for level in (levels[0], *settled)]
    table.add_row(
        "together", *(f"{x:,.0f}" for x in (total[0], total[1], max(total[1:]), total[-1], total[-1] - total[1]))
    )
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    raise SystemExit(1 if soak(parser.parse_args().minutes, Console()) else 0)
