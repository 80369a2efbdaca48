"""SIGKILL to the gateway in the middle of a file's first attachment to a vector store."""

import math
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from drill.failed_attach import attach, count_passages, create_store, upload_text
from drill.requests import is_ready, wait_for
from drill.result import DrillResult, Skipped
from fleet.temporary import TemporaryFleet

PROMISE = (
    "When the gateway is killed while it attaches a file, searches find all passages of the file or none, as listed."
)
SHORT = False
MOMENTS = (0.2, 0.5, 0.8, 0.95, 1.0)  # as fractions of the time that an attachment takes


def run(fleet: TemporaryFleet) -> DrillResult:
    """Kill the gateway at several moments, wait for the sweep, and attach each file again.

    Raises:
        Skipped: The fleet has no Postgres, so that the records end with the gateway.
    """
    if "postgres" not in fleet.processes():
        raise Skipped("the records end with the gateway where there is no Postgres")
    file_id, store = upload_text(fleet), create_store(fleet)
    began = time.monotonic()
    attach(fleet, store, file_id).raise_for_status()
    whole, passages = time.monotonic() - began, count_passages(fleet, store)
    stores = [create_store(fleet) for _ in MOMENTS]
    failed = 0
    for moment, store in zip(MOMENTS, stores, strict=True):
        with ThreadPoolExecutor(1) as pool:
            attaching = pool.submit(attach, fleet, store, file_id)
            time.sleep(moment * whole)
            os.kill(fleet.processes()["gateway"].pid or 0, signal.SIGKILL)
        failed += attaching.exception() is not None
        wait_for(lambda: is_ready(fleet))

    def states() -> list[tuple[int | None, bool]]:
        return [(count_passages(fleet, store), _is_listed(fleet, store, file_id)) for store in stores]

    ended = wait_for(lambda: set(states()) <= {(0, False), (passages, True)})
    after = states()
    again = [attach(fleet, store, file_id).is_success for store in stores]
    broken = []
    if not failed:
        broken.append("no attachment was interrupted, so nothing was tried")
    if math.isinf(ended):
        broken.append(f"passages and whether the file is listed: {after}, of {passages} passages")
    if not all(again) or set(states()) != {(passages, True)}:
        broken.append(f"attached again: {states()}")
    complete = sum(listed for _, listed in after)
    happened = (
        f"{failed} of {len(stores)} interrupted; {complete} complete and listed, the others empty {ended:.0f} s later"
    )
    return DrillResult("; ".join(broken) or f"{happened}; all complete once attached again", not broken)


def _is_listed(fleet: TemporaryFleet, store: str, file_id: str) -> bool:
    url = f"{fleet.address('gateway')}/v1/vector_stores/{store}/files"
    files = httpx.get(url, timeout=30).raise_for_status().json()["data"]
    return file_id in [file["id"] for file in files]
