"""DELETE of a file beside an upload of the same bytes, by two gateways that share a Postgres."""

import asyncio
import os
import random
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

import httpx

from drill.requests import wait_for
from drill.result import DrillResult
from fleet.runner.ports import free
from fleet.temporary import TemporaryFleet

PROMISE = "No upload that was answered with 200 is lost while other gateways delete the same bytes."
SHORT = False  # tests/unit/drill races on two gateways within one process
RACES = 1000
CONCURRENT = 8
START_SECONDS = 60.0


@dataclass(frozen=True)
class RaceOutcome:
    """The outcome of the uploads.

    Attributes:
        acknowledged: The number of uploads that were answered with 200.
        lost: Those of them whose bytes could not be read afterwards.
    """

    acknowledged: int
    lost: int


async def race(gateways: Sequence[httpx.AsyncClient], count: int) -> RaceOutcome:
    """Upload bytes again while a file of the same bytes is deleted, `count` times, and read them afterwards."""
    slots, chance = asyncio.Semaphore(CONCURRENT), random.Random(0)

    async def upload(gateway: httpx.AsyncClient, content: bytes, delay: float = 0.0) -> httpx.Response:
        await asyncio.sleep(delay)
        return await gateway.post("/v1/files", files={"file": ("race.txt", content, "text/plain")})

    async def once(number: int) -> tuple[bool, bool]:
        deleting, uploading = (gateways[(number + step) % len(gateways)] for step in (0, 1))
        content = secrets.token_bytes(2000)
        async with slots:
            first = (await upload(deleting, content)).raise_for_status().json()["id"]
            delay = chance.choice((0.0, 0.001, 0.005))
            _, second = await asyncio.gather(deleting.delete(f"/v1/files/{first}"), upload(uploading, content, delay))
            if not second.is_success:
                return False, False
            read = await deleting.get(f"/v1/files/{second.json()['id']}/content")
            lost = read.status_code != 200 or read.content != content
            await uploading.delete(f"/v1/files/{second.json()['id']}")
            return True, lost

    outcomes = await asyncio.gather(*(once(number) for number in range(count)))
    return RaceOutcome(sum(acknowledged for acknowledged, _ in outcomes), sum(lost for _, lost in outcomes))


def run(fleet: TemporaryFleet) -> DrillResult:
    """Race, with a second gateway on the Postgres of the fleet."""

    async def attack(*addresses: str) -> RaceOutcome:
        async with AsyncExitStack() as stack:
            clients = [httpx.AsyncClient(base_url=address, timeout=60) for address in addresses]
            return await race([await stack.enter_async_context(client) for client in clients], RACES)

    with second_gateway(fleet) as second:
        outcome = asyncio.run(attack(fleet.address("gateway"), second))
    happened = (
        f"{outcome.acknowledged} uploads by two gateways, each beside a deletion of the same bytes; {outcome.lost} lost"
    )
    return DrillResult(happened, outcome.acknowledged == RACES and not outcome.lost)


@contextmanager
def second_gateway(fleet: TemporaryFleet) -> Iterator[str]:
    """Another gateway on the Postgres and the object store of a fleet; its address."""
    password = (fleet.home / "run" / "postgres.password").read_text()
    database = f"postgresql://polyphony:{password}@{fleet.address('postgres')}/polyphony"
    port = free()
    settings = {
        "POLYPHONY_HOME": str(fleet.home),
        "POLYPHONY_GATEWAY_DATABASE_URL": database,
        "POLYPHONY_GATEWAY_HTTP_PORT": str(port),
        "POLYPHONY_GATEWAY_PORT": "0",
        "POLYPHONY_GATEWAY_METRICS_PORT": "0",
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "gateway"],
        env={**os.environ, **fleet.environment, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"

    def stores() -> bool:
        try:
            return bool(httpx.get(f"{address}/readyz", timeout=5).json().get("database") == "serving")
        except (httpx.HTTPError, ValueError):
            return False

    try:
        if wait_for(stores, START_SECONDS) == float("inf"):
            raise TimeoutError(f"the second gateway does not serve after {START_SECONDS:g} s")
        yield address
    finally:
        process.terminate()
        process.wait(30)
