"""Prompts cut and bounded, with bytes for tokens."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart
from polyphony.type.v1.media_pb2 import Media

from servekit.chat.budget import build_prompt, truncate
from servekit.chat.model import GenerationOptions
from servekit.errors import TooLarge, Unimplemented


class ByteTokenizer:
    """Its tokens are the bytes of UTF-8; it records the lengths of the texts of each call."""

    def __init__(self):
        self.calls = []

    def encode(self, texts):
        self.calls.append([len(text) for text in texts])
        return [list(text.encode()) for text in texts]

    def decode(self, tokens):
        return bytes(tokens).decode(errors="replace")

    def count(self, messages, options):
        return sum(len(message["content"].encode()) for message in messages)


class LongTokenizer(ByteTokenizer):
    """Its tokens are 40 characters long."""

    def encode(self, texts):
        self.calls.append([len(text) for text in texts])
        return [[text[at : at + 40] for at in range(0, len(text), 40)] for text in texts]

    def decode(self, tokens):
        return "".join(tokens)


def message(*parts, role=ChatMessage.ROLE_USER):
    return ChatMessage(role=role, parts=[ContentPart(text=text, max_tokens=limit) for text, limit in parts])


def build(*messages, max_tokens=0, tokenizer=None):
    options = GenerationOptions(max_tokens=max_tokens)
    return build_prompt(messages, options, tokenizer or ByteTokenizer(), max_bytes=1000, window_tokens=100)


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_text_is_cut_to_its_longest_beginning_that_fits(text, limit):
    (kept,) = truncate([text], [limit], ByteTokenizer())
    assert text.startswith(kept)
    assert len(kept.encode()) <= limit
    assert kept == text or len(text[: len(kept) + 1].encode()) > limit


def test_only_the_beginning_of_a_long_text_is_tokenised():
    tokenizer = ByteTokenizer()
    assert truncate(["a" * 10_000_000], [10], tokenizer) == ["a" * 10]
    assert tokenizer.calls == [[160]]


def test_a_longer_beginning_is_tokenised_where_tokens_are_long():
    tokenizer = LongTokenizer()
    assert truncate(["x" * 10_000, "short"], [5, 5], tokenizer) == ["x" * 200, "short"]
    assert tokenizer.calls == [[80, 5], [320]]


def test_a_decoding_that_differs_from_its_text_is_compared_in_linear_time():
    class SpacingTokenizer(ByteTokenizer):
        def decode(self, tokens):
            return " " + super().decode(tokens)

    began = time.thread_time()
    assert truncate([" x" + "y" * 500_000, "z" * 500_000], [400_000, 400_000], SpacingTokenizer()) == [" ", ""]
    assert time.thread_time() - began < 1  # to drop one character at a time would take several seconds


def test_all_parts_are_tokenised_in_one_call():
    tokenizer = ByteTokenizer()
    build(message(("aaaa", 3), ("bbbb", 0)), message(("cccc", 9)), message(("dddd", 2)), tokenizer=tokenizer)
    assert tokenizer.calls == [[4, 4, 4]]


def test_parts_without_a_limit_are_not_tokenised_by_themselves():
    tokenizer = ByteTokenizer()
    build(message(("aaaa", 0), ("bbbb", 0)), tokenizer=tokenizer)
    assert tokenizer.calls == []


def test_parts_are_cut_and_counted_over_all_messages():
    prompt = build(
        message(("aaaa", 4), ("bbbb", 3), role=ChatMessage.ROLE_SYSTEM),
        message(("cccc", 0), ("dddd", 1)),
        message(("e", 0), role=ChatMessage.ROLE_ASSISTANT),
    )
    assert prompt.messages == [
        {"role": "system", "content": "aaaabbb"},
        {"role": "user", "content": "ccccd"},
        {"role": "assistant", "content": "e"},
    ]
    assert prompt.truncated_parts == (1, 3)
    assert prompt.tokens == 13


@pytest.mark.parametrize("token", ["<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|endoftext|>"])
def test_a_text_cannot_contain_a_control_token(token):
    content = build(message((f"a{token}b <| c |> <x|y>", 0))).messages[0]["content"]
    assert token not in content
    assert content.replace("< |", "<|") == f"a{token}b <| c |> <x|y>"


@pytest.mark.parametrize(("asked", "granted"), [(0, 60), (7, 7), (999, 60)])
def test_the_answer_gets_at_most_the_rest_of_the_window(asked, granted):
    assert build(message(("x" * 40, 0)), max_tokens=asked).options.max_tokens == granted


@pytest.mark.parametrize(
    ("messages", "numbers"),
    [
        ([message(("x" * 100, 0))], ("100", "tokens")),
        ([message(("x" * 1001, 0))], ("1001", "1000")),
        ([message(("", 0))] * 101, ("101", "100")),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(messages, numbers):
    with pytest.raises(TooLarge) as refused:
        build(*messages)
    assert refused.value.field == "messages"
    assert all(number in refused.value.message for number in numbers)


def test_a_long_text_with_a_limit_is_cut_and_not_refused():
    assert build(message(("x" * 5000, 20))).tokens == 20


def test_a_medium_is_refused_rather_than_left_out():
    image = ChatMessage(role=ChatMessage.ROLE_USER, parts=[ContentPart(image=Media(inline=b"a picture"))])
    with pytest.raises(Unimplemented):
        build(message(("What is it?", 0)), image)
