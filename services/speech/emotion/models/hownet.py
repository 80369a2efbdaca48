"""The sentiment of Chinese by the word lists of HowNet, with negations and adverbs of degree.

The longest match in the lists is taken, so that 不好 does not match 好, nor 没有问题 match 问题. A listed word counts 1
or -1, inverted by each negation before it in its clause and weighted by its adverbs of degree; the sum s is normalized
to s / sqrt(s² + 15), as in VADER (Hutto and Gilbert, 2014). The lists are in simplified characters, to which texts are
converted first.
"""

import io
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any, NoReturn

from opencc import OpenCC

from servekit.context import CancellationToken
from servekit.errors import FailedPrecondition
from servekit.models.catalogue import ModelSpec
from services.speech.settings import SpeechSettings

DEGREES = {"extreme": 2.0, "very": 1.5, "more": 1.25, "ish": 0.75}
NEGATION = -0.75  # 不坏 is not as good as 好
# The lists are unreliable for single characters: 上 is positive, 小 both. Of these, only unambiguous ones are used.
POSITIVE_CHARACTERS, NEGATIVE_CHARACTERS = (
    frozenset("好棒美爱赞妙佳乐爽甜香帅靓"),
    frozenset("差坏糟烂丑恨怕痛烦吵臭脏贵慢"),
)
_CLAUSE = re.compile(r"[^\w]+")


class HowNet:
    """A sentiment classifier by lexicon.

    Args:
        positive: The positive words.
        negative: The negative words.
        negations: The words that invert those after them.
        degrees: The weight of each adverb of degree.
    """

    languages: Sequence[str] = ("zh",)

    def __init__(
        self,
        positive: frozenset[str],
        negative: frozenset[str],
        negations: frozenset[str],
        degrees: Mapping[str, float],
    ) -> None:
        self._values = dict.fromkeys(positive - negative, 1.0) | dict.fromkeys(negative - positive, -1.0)
        self._negations, self._degrees = negations, degrees
        self._known = {*self._values, *negations, *degrees}
        self._longest = max(map(len, self._known))
        self._simplified = OpenCC("t2s")

    def prepare(self, request: str) -> str:
        return str(self._simplified.convert(request))

    def run(self, items: Sequence[str], cancellation: CancellationToken) -> list[float]:
        scores = []
        for text in items:
            cancellation.raise_if_cancelled()
            total = sum(self._clause(clause) for clause in _CLAUSE.split(text))
            scores.append(total / sqrt(total * total + 15))
        return scores

    def _clause(self, clause: str) -> float:
        total, weight = 0.0, 1.0
        for word in self._words(clause):
            if value := self._values.get(word):
                total += value * weight
                weight = 1.0
            elif word in self._negations:
                weight *= NEGATION
            else:
                weight *= self._degrees.get(word, 1.0)
        return total

    def _words(self, clause: str) -> Iterator[str]:
        """The longest listed words from left to right; other text is skipped."""
        start = 0
        while start < len(clause):
            lengths = range(min(self._longest, len(clause) - start), 0, -1)
            word = next((clause[start : start + n] for n in lengths if clause[start : start + n] in self._known), "")
            if word:
                yield word
            start += len(word) or 1

    def warm(self) -> None:
        self.run(["很好"], CancellationToken())

    def close(self) -> None:
        """The lexicon is freed with its last reference."""


class _StringUnpickler(pickle.Unpickler):
    """Unpickles lists of strings, and rejects anything that would run code."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise FailedPrecondition(f"a lexicon must be a list of strings, got {module}.{name}")


def words(path: Path) -> frozenset[str]:
    """Read a word list, which is a pickled list of strings.

    Raises:
        FailedPrecondition: The file is anything else.
    """
    found: Any = _StringUnpickler(io.BytesIO(path.read_bytes())).load()
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise FailedPrecondition(f"{path.name} must be a list of strings")
    return frozenset(word.strip() for word in found) - {""}


def load(spec: ModelSpec, settings: SpeechSettings) -> HowNet:
    """Load the word lists from the folder of the model."""
    folder = spec.folder(settings.models_dir)
    degrees = {word: weight for name, weight in DEGREES.items() for word in words(folder / f"{name}.pkl")}
    lists = (frozenset(word for word in words(folder / f"{name}.pkl") if len(word) > 1) for name in ("pos", "neg"))
    positive, negative = lists
    negations = words(folder / "deny.pkl") | {"并不", "从不", "毫无", "不怎么", "不太"}
    return HowNet(positive | POSITIVE_CHARACTERS, negative | NEGATIVE_CHARACTERS, negations, degrees)
