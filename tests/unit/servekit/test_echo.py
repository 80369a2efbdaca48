import re
from pathlib import Path

import pytest

import servekit
from servekit.echo import cut, cut_bytes
from servekit.errors import NotFound, Unavailable, log_text, to_status


def test_a_text_is_cut_with_an_ellipsis():
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc…"
    assert len(cut("a" * 1000)) == 81


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abc", 8, "abc"),
        ("abcdefgh", 8, "abcdefgh"),
        ("abcdefghi", 8, "abcde…"),
        ("äöü", 6, "äöü"),
        ("äöüß", 6, "ä…"),
        ("x\ud800y", 8, "x?y"),
    ],
)
def test_a_text_is_cut_to_bytes_between_characters(text, limit, expected):
    assert cut_bytes(text, limit) == expected
    assert len(expected.encode()) <= limit


@pytest.mark.parametrize("letter", ["A", "%", "\0", "ä", "語", "\U0001f600"])
def test_an_error_fits_in_the_trailers_of_grpc(letter):
    """Trailers have the message percent-encoded, and with the field in base64; a client takes 8 KiB by default."""
    status = to_status(NotFound(letter * 10_000_000, field=letter * 10_000_000, retry_after=1.5))
    encoded = sum(1 if 0x20 <= byte < 0x7F and byte != 0x25 else 3 for byte in status.message.encode())
    assert encoded + len(status.SerializeToString()) * 4 / 3 < 8000


def test_the_log_has_no_message_that_may_quote_the_request():
    assert log_text(NotFound("no model 'secret'", field="model")) == "NOT_FOUND (model)"
    assert log_text(Unavailable("the database does not answer")) == "UNAVAILABLE: the database does not answer"


def test_values_in_messages_are_cut_by_one_function_only():
    root = Path(servekit.__file__).parents[1]
    sources = [path for folder in ("servekit", "gateway", "services") for path in (root / folder).rglob("*.py")]
    assert len(sources) > 100
    sliced = re.compile(r"\{[\w.]+\[:\d+\]!r\}")
    assert [path.name for path in sources if sliced.search(path.read_text())] == []
