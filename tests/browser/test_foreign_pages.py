"""Attacks of a web page in a real browser on a gateway without API keys."""

import re
from collections import Counter

import pytest

REFUSED = "PERMISSION_DENIED"


@pytest.fixture
def file(http):
    """The id of a stored file."""
    form = {"files": {"file": ("mine.txt", b"mine")}, "data": {"purpose": "user_data"}}
    return http.post("/v1/files", **form).json()["id"]


def changes(http):
    """The number of requests so far, of those that change or compute something, by operation and code."""
    pattern = r'^polyphony_requests_total{code="(\w+)",method="((?:POST|DELETE|WS) [^"]+)"} (\S+)$'
    rows = re.findall(pattern, http.get("/metrics").text, re.MULTILINE)
    return Counter({(operation, code): int(float(count)) for code, operation, count in rows})


def stored(http):
    """The names of all files and vector stores."""
    files, stores = http.get("/v1/files").json()["data"], http.get("/v1/vector_stores").json()["data"]
    return sorted(row["filename"] for row in files), sorted(row["name"] for row in stores)


def done(report):
    """The attacks that succeeded, by the page itself, which cannot see the response to a form in a frame."""
    return {name for name, attempt in report.items() if attempt["done"]} - {"submit_form"}


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("evil.example", "127.0.0.1"),
        ("evil.example", "localhost"),
        ("localhost", "127.0.0.1"),
        ("localhost", "localhost"),
    ],
)
async def test_a_page_of_another_origin_reads_and_changes_nothing(attack, http, file, name, target):
    before, contents = changes(http), stored(http)
    report = await attack(name, target, file)
    for attempt in ("chat_as_text", "chat_without_type", "upload"):
        assert report[attempt]["text"] == "sent, unreadable"
    assert done(report) == {"chat_as_text", "chat_without_type", "upload"}
    assert changes(http) - before == {
        ("POST /v1/chat/completions", REFUSED): 2,
        ("POST /v1/files", REFUSED): 1,
        ("POST /v1/vector_stores", REFUSED): 1,
        ("WS /v1/realtime", REFUSED): 1,
    }
    assert stored(http) == contents


async def test_a_rebound_page_reads_and_changes_nothing(attack, http, file):
    before, contents = changes(http), stored(http)
    report = await attack("rebound.example", "", file)
    assert done(report) == set()
    assert "403" in report["read_files"]["text"]
    assert "got 'rebound.example:" in report["read_files"]["text"]
    assert {code for _, code in changes(http) - before} == {REFUSED}
    assert stored(http) == contents


async def test_a_page_of_the_gateway_can_do_everything_but_send_json_as_text(attack, http, file):
    report = await attack("localhost", "", file)
    assert done(report) == {"read_files", "chat_as_json", "upload", "delete_file", "socket"}
    assert '"session.created"' in report["socket"]["text"]
    assert "415" in report["chat_as_text"]["text"]
    assert http.get(f"/v1/files/{file}").status_code == 404


def test_the_api_reference_is_shown(show, gateway):
    page = show(f"{gateway}/docs")
    assert "opblock-summary-path" in page
    assert "Create chat completion" in page


def test_a_rebound_name_shows_no_data(show, gateway, file):
    assert "got 'rebound.example:" in show(f"http://rebound.example:{gateway.port}/v1/files")
    assert file in show(f"http://localhost:{gateway.port}/v1/files")
