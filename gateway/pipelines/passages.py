"""Passages: the pieces of a document that are embedded and found. Splitting takes time linear in the document's size.

The document is split block by block, so that no single call holds the interpreter's lock for more than a few
milliseconds: other threads, such as the event loop's, run between two of them.
"""

import math
import re
from collections.abc import Iterator

from servekit.media.scripts import join

BLOCK = 1 << 14  # characters that one call processes

_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+|(?<=[。！？；])(?![。！？；])|\n\s*\n")
_BORDERS = "\n ，、,"  # where a long sentence is cut, the best first: rows of a table, words, clauses


def split_passages(text: str, max_tokens: int) -> Iterator[str]:
    """Yield passages of whole sentences; a passage begins with the last sentence of the one before if both fit.

    Args:
        text: The text to split.
        max_tokens: The approximate maximum length of a passage; see `rough_tokens`.
    """
    passage: list[str] = []
    length = last_cost = 0.0
    for sentence in _sentences(text, max_tokens):
        cost = rough_tokens(sentence)
        if passage and length + cost > max_tokens:
            yield join(passage)
            overlaps = last_cost + cost <= max_tokens and len(passage) > 1
            passage, length = (passage[-1:], last_cost) if overlaps else ([], 0.0)
        passage.append(sentence)
        length += cost
        last_cost = cost
    if passage:
        yield join(passage)


def rough_tokens(text: str) -> float:
    """Return the approximate number of tokens of a text: four ASCII characters, or one other character, are a token."""
    latin = len(text.encode("ascii", "ignore"))
    return latin / 4 + len(text) - latin


def blocks(text: str) -> Iterator[str]:
    """Yield a text in blocks of at most `BLOCK` + 2 characters, none of which ends within white space.

    White space between two blocks begins the second, shortened to at most two line feeds.
    """
    space = ""
    for start in range(0, len(text), BLOCK):
        block = space + text[start : start + BLOCK]
        words = block.rstrip()
        space = block[len(words) :]
        space = "\n" * min(2, space.count("\n")) or space[:1]
        if words:
            yield words


def _sentences(text: str, max_tokens: int) -> Iterator[str]:
    """Yield sentences with single spaces, each of at most `max_tokens`."""
    rest = ""  # the last sentence of the blocks so far, which may go on in the next
    for block in blocks(text):
        *sentences, rest = _SENTENCE_END.split(rest + block)
        for sentence in sentences:
            yield from map(_one_line, _cut(sentence, max_tokens))
        *pieces, rest = _cut(rest, max_tokens) or [""]
        yield from map(_one_line, pieces)
    if rest:
        yield _one_line(rest)


def _cut(sentence: str, max_tokens: int) -> list[str]:
    """Return a sentence in pieces of at most `max_tokens`, each as long as it may be; none for white space.

    A piece ends with a line, else with a word, else with a clause, if it is then at least half as long as it may be.
    """
    text = "\n".join(map(_one_line, sentence.split("\n"))).strip()
    pieces = []
    start = 0
    while start < len(text):
        window = text[start : start + 4 * max_tokens]  # no longer piece fits
        end = len(window)
        while (excess := rough_tokens(window[:end]) - max_tokens) > 0:
            end -= math.ceil(excess)
        if start + end < len(text):
            found = (window.rfind(border, end // 2, end) for border in _BORDERS)
            end = next((at + 1 for at in found if at >= 0), end)
        if piece := window[:end].strip():
            pieces.append(piece)
        start += end
    return pieces


def _one_line(text: str) -> str:
    return " ".join(text.split())
