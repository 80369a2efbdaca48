"""Attaching a file to a vector store again, which fails half-way."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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
    text = "\n".join(f"Sentence {number} is about coins, markers and maps." for number in range(WORDS // 8))
    file_id = upload(fleet, text.encode(), "drill.txt", "text/plain").raise_for_status().json()["id"]
    url = f"{fleet.address('gateway')}/v1/vector_stores"
    store = httpx.post(url, json={"name": "drill"}, timeout=60).raise_for_status().json()["id"]
    began = time.monotonic()
    _attach(fleet, store, file_id).raise_for_status()
    half = (time.monotonic() - began) / 2
    passages = count_passages(fleet, store)

    def kill(name: str) -> Callable[[], None]:
        return lambda: os.kill(fleet.processes()[name].pid or 0, signal.SIGKILL)

    faults: dict[str, Callable[[], None] | None] = {"deadline": None}
    if "postgres" in fleet.processes():
        faults |= {"retrieval killed": kill("retrieval"), "Postgres killed": kill("postgres")}
    broken, failed = [], 0
    for fault, inject in faults.items():
        for attempt in range(ATTEMPTS):
            with ThreadPoolExecutor(1) as pool:
                moment = half * (attempt + 1) / 2
                attaching = pool.submit(_attach, fleet, store, file_id, moment if inject is None else RECOVERY_SECONDS)
                if inject:
                    time.sleep(moment)
                    inject()
            failed += not attaching.result().is_success
            wait_for(lambda: is_ready(fleet))
            wait_for(lambda: count_passages(fleet, store) is not None)
            if (found := count_passages(fleet, store)) != passages:
                broken.append(f"{fault}: {found} of {passages} passages are left")
    if not failed:
        broken.append("no attempt failed, so nothing was tried")
    happened = f"{passages} of {passages} passages after {failed} of {ATTEMPTS * len(faults)} attempts failed half-way"
    return DrillResult("; ".join(broken) or f"{happened} ({', '.join(faults)})", not broken)


def _attach(fleet: TemporaryFleet, store: str, file_id: str, seconds: float = RECOVERY_SECONDS) -> httpx.Response:
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
