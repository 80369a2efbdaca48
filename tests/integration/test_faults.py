"""Clients that leave, processes that die, and a fleet that is told to stop."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from fleet.temporary import new_home, running
from tests.integration.conftest import TOKEN_SECONDS, picture
from tests.watching import eventually, in_flight, total

CHAT = "/v1/chat/completions"
LONG = "word " * 300  # the fake says again what it was told: 6 s of tokens
ENDLESS = "word " * 1000  # 20 s


def said(text, **more):
    return {"messages": [{"role": "user", "content": text}], **more}


def runs(metrics):
    """How often an engine has come to an end."""
    return total(metrics, "polyphony_inference_duration_seconds_count")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_the_engine_whether_it_streams_or_not(fleet, http, stream):
    metrics = [fleet.address(process, "metrics") for process in ("gateway", "generation")]
    before = runs(metrics[1])
    if stream:
        with http.stream("POST", CHAT, json=said(ENDLESS, stream=True)) as response:
            lines = response.iter_lines()  # an iterator that is let go closes the response
            assert next(lines)
            assert [in_flight(address) for address in metrics] == [1, 1]
    else:
        with pytest.raises(httpx.ReadTimeout):
            http.post(CHAT, json=said(ENDLESS), timeout=httpx.Timeout(60, read=2))
    left = time.monotonic()
    for address in metrics:
        eventually(lambda address=address: in_flight(address) == 0)
    eventually(lambda: runs(metrics[1]) == before + 1)
    assert time.monotonic() - left < 10  # of the 18 s that were to come


def test_an_exceeded_deadline_is_a_504_or_an_event_of_the_stream(fleet, http):
    generation = fleet.address("generation", "metrics")
    before = runs(generation)
    headers = {"x-polyphony-timeout": str(100 * TOKEN_SECONDS)}
    whole = http.post(CHAT, json=said(LONG), headers=headers)
    assert (whole.status_code, whole.json()["error"]["code"]) == (504, "deadline_exceeded")
    # Until the slot has been let go, at its next token, so short a deadline is refused.
    eventually(lambda: runs(generation) == before + 1)
    streamed = http.post(CHAT, json=said(LONG, stream=True), headers=headers)
    assert streamed.status_code == 200
    assert '"code":"deadline_exceeded"' in streamed.text
    assert streamed.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("process", "path", "body"),
    [
        ("vision", "/v1/vision/read", {"content": picture()}),
        ("speech", "/v1/audio/speech", {"json": {"input": "Hi"}}),
        ("generation", CHAT, {"json": said("Hi")}),
        ("retrieval", "/v1/embeddings", {"json": {"input": "Hi"}}),
    ],
)
def test_a_killed_service_is_reported_unavailable_and_restarted(fleet, http, process, path, body):
    assert http.post(path, **body).status_code == 200
    os.kill(fleet.status()[process]["pid"], signal.SIGKILL)
    refused = http.post(path, **body)
    assert refused.status_code == 503, refused.text
    assert float(refused.headers["retry-after"]) > 0
    ready = http.get("/readyz").json()
    assert (ready["status"], ready["services"][process]) == ("degraded", "not_serving")
    eventually(lambda: http.post(path, **body).status_code == 200)
    eventually(lambda: http.get("/readyz").json()["status"] == "ready")


def test_a_stop_under_load_loses_no_request_that_was_accepted():
    def ask(base, number):
        return httpx.post(f"{base}{CHAT}", json=said(f"{number} {LONG}"), timeout=60)

    options = f'{{"latency_seconds": {TOKEN_SECONDS}}}'
    with (
        new_home() as home,
        running(home, "--profile", "fake", POLYPHONY_GENERATION_MODEL_OPTIONS=options) as other,
    ):
        base, metrics = other.address("gateway"), other.address("gateway", "metrics")
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask, base, number) for number in range(4)]
            eventually(lambda: in_flight(metrics) == 4)
            other.run("down")
            answers = [one.result() for one in asked]
    assert [answer.status_code for answer in answers] == [200] * 4
