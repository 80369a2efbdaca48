"""Metrics of answers, each 0 to 1.

Texts are normalized before they are compared. Speech has no capitals and no punctuation: `spoken` keeps words
only. Print has both: `written` only normalizes spaces. Both apply Unicode's compatibility normalization (NFKC), so
that a full-width comma is a comma. Chinese is written without spaces: each character is a word, and spaces next to
it are removed.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence

import jiwer

HAN = r"[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
_WORD = re.compile(rf"{HAN}|(?:(?!{HAN})[^\W_])+(?:'(?:(?!{HAN})[^\W_])+)*")
_CLAUSE = re.compile(r"[,;:!?]+(?!\d)|\.+(?=\s|$)|[、。\n]")
_SPACE_OF_HAN = re.compile(rf"\s+(?={HAN})|(?<={HAN})\s+")
_NOT = frozenset("not no never none nor neither without cannot 没 不 无 未 非 否 别".split())  # noqa: SIM905


def words(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters and digits, with their inner apostrophes."""
    return _WORD.findall(_folded(text).casefold())


def spoken(text: str) -> str:
    """A text as it sounds: its words and single spaces, nothing between Chinese characters."""
    return _SPACE_OF_HAN.sub("", " ".join(words(text)))


def written(text: str) -> str:
    """A text as it is printed: its characters, capitals and punctuation too, and single spaces for any space."""
    return _SPACE_OF_HAN.sub("", " ".join(_folded(text).split()))


def word_error_rate(expected: Sequence[str], transcripts: Sequence[str]) -> float:
    """Word error rate: substitutions, deletions and insertions over the expected words, pooled over the texts.

    (S + D + I) / N by the least edits: Morris, Maier and Green, "From WER and RIL to MER and WIL", Interspeech
    2004, as jiwer counts it. Additions can outnumber the words; such a rate is given as 1.

    Args:
        expected: The reference texts, at least one word in each.
        transcripts: The recognized text of each.
    """
    pairs = [" ".join(words(text)) for text in expected], [" ".join(words(text)) for text in transcripts]
    return min(1.0, jiwer.wer(*pairs))


def character_error_rate(expected: Sequence[str], found: Sequence[str]) -> float:
    """Character error rate, spaces included, of texts as `spoken` or `written` returns them.

    Args:
        expected: The reference texts, at least one character in each.
        found: The recognized text of each.
    """
    return min(1.0, jiwer.cer(list(expected), list(found)))


def recall(relevant: Sequence[Collection[str]], found: Sequence[Sequence[str]], k: int) -> float:
    """Recall at k: the share of relevant items among the first k results, averaged over queries.

    Manning, Raghavan and Schütze, "Introduction to Information Retrieval", 2008, chapter 8.

    Args:
        relevant: The relevant items of each query, at least one.
        found: The results of each query, best first.
        k: The number of results that count.
    """
    shares = [len({*wanted} & {*got[:k]}) / len({*wanted}) for wanted, got in zip(relevant, found, strict=True)]
    return sum(shares) / len(shares)


def accuracy(accepted: Sequence[Collection[str]], answers: Sequence[str]) -> float:
    """The share of answers that say one of their accepted texts; see `says`."""
    right = [any(says(answer, text) for text in texts) for texts, answer in zip(accepted, answers, strict=True)]
    return sum(right) / len(right)


def says(answer: str, text: str) -> bool:
    """Whether an answer asserts a text: it has the words in sequence without a preceding negation in the clause.

    Whole words are compared, so that `art` is not found in `party`. Chinese has no such bounds, which is why the
    negation counts: `有` stands in `没有`, and is not said by it.
    """
    wanted = words(text)
    for clause in _CLAUSE.split(_folded(answer)):
        had = words(clause)
        for start in range(len(had) - len(wanted) + 1):
            denied = any(word in _NOT or word.endswith("n't") for word in had[:start])
            if had[start : start + len(wanted)] == wanted and not denied:
                return True
    return False


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("\u2019", "'")
