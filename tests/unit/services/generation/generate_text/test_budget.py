"""Cutting and bounding prompts, with bytes for tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servekit.rpc.errors import TooLarge
from services.generation.generate_text import Part, Prompt, Turn, budget


def encode(text):
    return list(text.encode())


def decode(tokens):
    return bytes(tokens).decode(errors="replace")


def prepare(prompt, **bounds):
    def count(prompt):
        return sum(len(encode(turn.text)) for turn in prompt.turns)

    return budget.prepare(prompt, encode, decode, count, **{"max_bytes": 1000, "window": 100} | bounds)


def prompt(*parts, **more):
    return Prompt((Turn("user", tuple(Part(*part) for part in parts)),), **more)


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_head_is_the_longest_beginning_that_fits(text, most):
    kept = budget.head(text, most, encode, decode)
    assert text.startswith(kept)
    assert len(encode(kept)) <= most
    assert kept == text or len(encode(text[: len(kept) + 1])) > most


def test_a_head_encodes_no_more_than_it_needs():
    seen = []

    def counting(text):
        seen.append(len(text))
        return encode(text)

    assert budget.head("a" * 10_000_000, 10, counting, decode) == "a" * 10
    assert max(seen) < 1000


def test_a_head_looks_further_where_tokens_are_long():
    def by_forty(text):
        return [text[at : at + 40] for at in range(0, len(text), 40)]

    assert budget.head("x" * 10_000, 5, by_forty, "".join) == "x" * 200


def test_parts_are_cut_and_counted_over_all_turns():
    turns = (Turn("system", (Part("aaaa", 4), Part("bbbb", 3))), Turn("user", (Part("cccc"), Part("dddd", 1))))
    prepared = prepare(Prompt(turns))
    assert [turn.text for turn in prepared.prompt.turns] == ["aaaabbb", "ccccd"]
    assert prepared.truncated == (1, 3)
    assert prepared.tokens == 12


@pytest.mark.parametrize(("asked", "given_"), [(0, 60), (7, 7), (999, 60)])
def test_the_answer_gets_what_is_left_of_the_window(asked, given_):
    assert prepare(prompt(("x" * 40,), max_tokens=asked)).prompt.max_tokens == given_


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (prompt(("x" * 100,)), ("100", "tokens")),
        (prompt(("x" * 1001,)), ("1001", "1000")),
        (Prompt((Turn("user", (Part(""),)),) * 101), ("101", "100")),
    ],
)
def test_what_does_not_fit_is_refused_with_both_numbers(bad, said):
    with pytest.raises(TooLarge) as refused:
        prepare(bad)
    assert refused.value.field == "messages"
    assert all(word in refused.value.message for word in said)


def test_a_long_text_with_a_limit_is_cut_not_refused():
    assert prepare(prompt(("x" * 5000, 20))).tokens == 20
