"""The canary against a gateway that is told what to answer."""

import asyncio

import httpx
import pytest

from client.errors import GatewayError
from client.gateway import GatewayClient
from evaluation import canary_set
from evaluation.replay import replay
from evaluation.report import as_json, baseline, details
from evaluation.tasks import ChatCanary, SearchCanary, TranscribeCanary

CANARY = canary_set.read()


class Fleet:
    """Answers by path; keeps what was asked. `refuse` maps a path to how often it fails and how."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked: list[tuple[str, str]] = []
        self.refusals: list[httpx.Response] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path))
        if self.refusals and request.method == "POST":
            return self.refusals.pop(0)
        return httpx.Response(200, json=self.answers[request.url.path.rsplit("/", 1)[-1]])


def gateway(fleet, seconds=5.0):
    return GatewayClient(httpx.AsyncClient(base_url="http://fleet", transport=httpx.MockTransport(fleet)), seconds)


def refusal(status, message="busy", **headers):
    return httpx.Response(status, json={"error": {"message": message}}, headers=headers)


def nothing():
    pass


async def test_what_fails_stops_nothing_and_is_not_marked():
    fleet = Fleet(transcriptions={"text": CANARY.transcribe[1].text})
    fleet.refusals = [refusal(500, "the model is gone")]
    steps = []
    result = await replay(TranscribeCanary(CANARY.transcribe[:2]), gateway(fleet), 1, lambda: steps.append(1))
    assert len(steps) == result.items == 2
    assert [(failure.item, failure.reason) for failure in result.failures] == [
        (CANARY.transcribe[0], "500: the model is gone")
    ]
    assert result.quality == {"word_error_rate": 0.0, "character_error_rate": 0.0}


async def test_where_nothing_is_answered_nothing_is_known():
    fleet = Fleet()
    fleet.refusals = [refusal(401, "an API key is needed")] * 2
    result = await replay(TranscribeCanary(CANARY.transcribe[:2]), gateway(fleet), 1, nothing)
    assert result.quality == {}
    assert len(result.failures) == 2


async def test_a_wrong_answer_is_shown_beside_the_right_one():
    fleet = Fleet(completions={"choices": [{"message": {"content": "Oslo, not Bergen"}}]})
    result = await replay(ChatCanary(CANARY.chat[:1]), gateway(fleet), 3, nothing)
    assert (result.items, result.quality) == (3, {"accuracy": 0.0})
    assert details([result])[1:3] == ["  expected  Bergen", "  answered  Oslo, not Bergen"]


async def test_a_call_that_was_shed_is_made_once_more():
    fleet = Fleet(transcriptions={"text": "Good morning."})
    fleet.refusals = [refusal(429, **{"retry-after": "0"})]
    assert await gateway(fleet).transcribe(b"sound", "a.wav") == {"text": "Good morning."}
    fleet.refusals = [refusal(503, **{"retry-after": "0"}), refusal(503)]
    with pytest.raises(GatewayError, match="503: busy"):
        await gateway(fleet).transcribe(b"sound", "a.wav")


async def test_waiting_for_another_try_counts_against_the_deadline():
    fleet = Fleet()
    fleet.refusals = [refusal(429, **{"retry-after": "60"})]
    with pytest.raises(GatewayError, match=r"no answer within 0\.05 s"):
        await gateway(fleet, 0.05).transcribe(b"sound", "a.wav")


async def test_a_gateway_that_sends_elsewhere_has_not_answered():
    fleet = Fleet()
    fleet.refusals = [httpx.Response(308, headers={"location": "https://fleet"})]
    with pytest.raises(GatewayError, match="308: Permanent Redirect"):
        await gateway(fleet).speak("Good morning.")


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]"])
async def test_another_answer_than_expected_is_a_failure(body):
    client = httpx.AsyncClient(
        base_url="http://fleet", transport=httpx.MockTransport(lambda request: httpx.Response(200, content=body))
    )
    with pytest.raises(GatewayError, match=r"the answer has no text|does not answer in JSON"):
        await GatewayClient(client, 5.0).read_text(b"image", "image/png")


def made(fleet):
    return [path for method, path in fleet.asked if method == "DELETE"]


async def test_what_a_search_made_is_deleted_even_if_it_fails():
    fleet = Fleet(vector_stores={"data": [], "id": "vs_1"}, files={"id": "file_1"}, search={"data": []}, vs_1={})
    fleet.answers["file_1"] = {}
    search = CANARY.search.model_copy(update={"passages": {"bees": "..."}, "queries": CANARY.search.queries[:1]})
    result = await replay(SearchCanary(search), gateway(fleet), 1, nothing)
    assert result.quality == {"recall": 0.0}
    assert made(fleet) == ["/v1/vector_stores/vs_1", "/v1/files/file_1"]

    fleet.asked.clear()
    fleet.refusals = [httpx.Response(200, json={"id": "file_1"}), refusal(500, "no database")]
    result = await replay(SearchCanary(search), gateway(fleet), 1, nothing)
    assert [failure.reason for failure in result.failures] == ["500: no database"]
    assert made(fleet) == ["/v1/files/file_1"]


async def test_a_canary_that_is_stopped_deletes_what_it_created():
    fleet = Fleet(vector_stores={"data": [], "id": "vs_1"}, vs_1={})
    inside = asyncio.Event()

    async def search():
        async with gateway(fleet).vector_store("store", {}):
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(search())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made(fleet) == ["/v1/vector_stores/vs_1"]


async def test_the_stores_of_canaries_that_were_killed_go_and_no_others():
    stores = [
        {"id": "vs_old", "name": "polyphony-canary", "created_at": 0},
        {"id": "vs_mine", "name": "my papers", "created_at": 0},
        {"id": "vs_running", "name": "polyphony-canary", "created_at": 1e12},
    ]
    fleet = Fleet(vector_stores={"data": stores, "id": "vs_1"}, vs_old={}, vs_1={})
    search = CANARY.search.model_copy(update={"passages": {}})
    async with SearchCanary(search).ready(gateway(fleet)):
        assert made(fleet) == ["/v1/vector_stores/vs_old"]


async def test_a_baseline_is_what_was_printed_before():
    fleet = Fleet(transcriptions={"text": CANARY.transcribe[0].text})
    results = [await replay(TranscribeCanary(CANARY.transcribe[:1]), gateway(fleet), 1, nothing)]
    assert baseline(as_json(results)) == {"transcribe": {"word_error_rate": 0.0, "character_error_rate": 0.0}}
    for other in ([], {"transcribe": 1}, {"transcribe": {}}):
        with pytest.raises(ValueError, match="canary --json"):
            baseline(other)
