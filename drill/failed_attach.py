"""Attaching a file to a vector store again, which fails half-way."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc
import httpx
from polyphony.retrieval.v1.retrieval_pb2 import DescribeCollectionRequest
from polyphony.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceStub

from drill.requests import RECOVERY_SECONDS, is_ready, upload, wait_for
from drill.result import DrillResult
from fleet.temporary import TemporaryFleet

PROMISE = "When attaching a file again fails half-way, every passage of it is still found."
SHORT = True
WORDS = 400_000
ATTEMPTS = 3


def run(fleet: TemporaryFleet) -> DrillResult:
    """Let the deadline pass half-way, and kill retrieval and Postgres half-way where there is a Postgres."""
    file_id = upload_text(fleet)

    def kill(name: str) -> Callable[[], None]:
        return lambda: os.kill(fleet.processes()[name].pid or 0, signal.SIGKILL)

    faults: dict[str, Callable[[], None] | None] = {"deadline": None}
    if "postgres" in fleet.processes():
        faults |= {"retrieval killed": kill("retrieval"), "Postgres killed": kill("postgres")}
    broken, failed = [], 0
    for fault, inject in faults.items():
        for attempt in range(ATTEMPTS):
            store = create_store(fleet)  # of its own: an attachment waits for the end of one that failed
            began = time.monotonic()
            attach(fleet, store, file_id).raise_for_status()
            half = (time.monotonic() - began) / 2
            passages = count_passages(fleet, store)
            with ThreadPoolExecutor(1) as pool:
                moment = half * (attempt + 1) / 2
                attaching = pool.submit(attach, fleet, store, file_id, moment if inject is None else RECOVERY_SECONDS)
                if inject:
                    time.sleep(moment)
                    inject()
            failed += not attaching.result().is_success
            wait_for(lambda: is_ready(fleet))
            wait_for(partial(count_passages, fleet, store))
            if (found := count_passages(fleet, store)) != passages:
                broken.append(f"{fault}: {found} of {passages} passages are left")
    if not failed:
        broken.append("no attempt failed, so nothing was tried")
    happened = f"{passages} of {passages} passages after {failed} of {ATTEMPTS * len(faults)} attempts failed half-way"
    return DrillResult("; ".join(broken) or f"{happened} ({', '.join(faults)})", not broken)


def upload_text(fleet: TemporaryFleet) -> str:
    """Upload a text that takes seconds to attach; return the file's id."""
    text = "\n".join(f"Sentence {number} is about coins, markers and maps." for number in range(WORDS // 8))
    return str(upload(fleet, text.encode(), "drill.txt", "text/plain").raise_for_status().json()["id"])


def create_store(fleet: TemporaryFleet) -> str:
    """Create a vector store; return its id."""
    url = f"{fleet.address('gateway')}/v1/vector_stores"
    return str(httpx.post(url, json={"name": "drill"}, timeout=60).raise_for_status().json()["id"])


def attach(fleet: TemporaryFleet, store: str, file_id: str, seconds: float = RECOVERY_SECONDS) -> httpx.Response:
    """Attach a file to a vector store within a deadline."""
    url = f"{fleet.address('gateway')}/v1/vector_stores/{store}/files"
    headers = {"x-polyphony-timeout": f"{seconds:.3f}"}
    return httpx.post(url, json={"file_id": file_id}, headers=headers, timeout=2 * RECOVERY_SECONDS)


def count_passages(fleet: TemporaryFleet, store: str) -> int | None:
    """The number of passages of a vector store; None while retrieval or its database does not answer."""
    with grpc.insecure_channel(fleet.address("retrieval", "grpc")) as channel:
        request = DescribeCollectionRequest(collection=store)
        try:
            return int(RetrievalServiceStub(channel).DescribeCollection(request, timeout=30).point_count)
        except grpc.RpcError:
            return None
