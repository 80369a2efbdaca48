"""The segmentation of text for synthesis: into sentences, and long sentences into clauses.

The first piece is short, so that the audio begins early, and each of the next may be twice as long: a model that
synthesizes at twice real time causes no gaps.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

FIRST_CHARACTERS = 40  # of the first piece: two to three seconds of speech
GROWTH = 2
PARAGRAPH_SECONDS, SENTENCE_SECONDS, CLAUSE_SECONDS, WORD_SECONDS = 0.7, 0.35, 0.12, 0.02  # of silence after each
MAX_SENTENCE = 1000  # characters; a longer sentence ends at the next end mark

_PARAGRAPH = re.compile(r"\n\s*\n")
_WRAPPED = 60  # the minimum length of a line that was wrapped
_END = re.compile(r"""(?<![.!?…])[.!?…]++["'”’»)\]]*+(?=\s|$)|[。！？．｡]++[」』”’）】》\])"']*+""")
_QUOTED = re.compile(r"(?:と|って|、|，)")  # continues a sentence after a Japanese quotation
_CLAUSE = re.compile(r"""[,;:–—]+["'”’»)\]]*(?=\s)|(?<=\s)[–—-](?=\s)|[、，；：]""")
_CONJUNCTION = re.compile(
    r"\s(?=(?:and|or|but|that|which|who|because|when|while|if|than|as|to|of|in|on|at|for|with|from|by)\s)"
)
_CLOSED = re.compile(r"""["'”’»)\]]+$""")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")
_ITEM = re.compile(r"\W*(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})\.")


def _words(text: str) -> list[str]:
    return text.split()


# A point after one of `_TITLES` never ends a sentence; after one of `_SOMETIMES_FINAL`, only before one of `_STARTERS`.
_TITLES = frozenset(
    _words(
        "dr mr mrs ms prof st gen rep sen lt col sgt capt cpt rev hon mt gov pres supt messrs mme mlle vs cf e.g i.e "
        "viz approx no nos fig figs eq eqs vol vols pp p ch sec ed eds art arts jan feb mar apr jun jul aug sep sept "
        "oct nov dec mon tue tues wed thu thur thurs fri sat sun"
    )
)
_SOMETIMES_FINAL = frozenset(
    _words("etc inc ltd co corp jr sr bros dept est ave blvd rd a.m p.m al u.s u.k u.n d.c ph.d b.a m.a")
)
_STARTERS = frozenset(
    _words(
        "a all an and as at but by for he her his how however i if in it its my no now on one our she so some that the "
        "their then there these they this those to we what when where which while who why yes you your"
    )
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text that is synthesized in one call.

    Attributes:
        text: The text.
        pause: Seconds of silence after it at normal speed.
    """

    text: str
    pause: float


def sentences(text: str) -> Iterator[Piece]:
    """Split a text into sentences.

    The points of abbreviations, initials, numbers and addresses do not end a sentence, nor does the end of a quotation
    inside it.
    """
    for paragraph in _PARAGRAPH.split(text.strip()):
        lines = [sentence for line in _lines(paragraph) for sentence in _of_line(line)]
        for number, sentence in enumerate(lines, 1):
            yield Piece(sentence, SENTENCE_SECONDS if number < len(lines) else PARAGRAPH_SECONDS)


def _lines(paragraph: str) -> Iterator[str]:
    """The lines of a paragraph; wrapped lines are joined."""
    whole = ""
    for line in filter(None, (line.strip() for line in paragraph.splitlines())):
        if whole and not (len(whole.rpartition("\n")[2]) >= _WRAPPED or line[0].islower()):
            yield whole.replace("\n", " ")
            whole = ""
        whole = f"{whole}\n{line}" if whole else line
    if whole:
        yield whole.replace("\n", " ")


def _of_line(line: str) -> Iterator[str]:
    begin = 0
    for end in _END.finditer(line):
        if _ends(line[begin : end.end()], line[end.end() :].lstrip()[:40]):
            yield line[begin : end.end()].strip()
            begin = end.end()
    if rest := line[begin:].strip():
        yield rest


def _ends(sentence: str, following: str) -> bool:
    """Whether a possible end of a sentence is one.

    Args:
        sentence: The text up to the end mark.
        following: The text after it.
    """
    sentence = sentence.strip()
    if not following or len(sentence) > MAX_SENTENCE:
        return True
    if following[0].islower() or (sentence[-1] in "」』" and _QUOTED.match(following)):
        return False
    bare_sentence = _CLOSED.sub("", sentence)
    if not bare_sentence.endswith(".") or bare_sentence.endswith(".."):
        return True
    if _ITEM.fullmatch(bare_sentence):
        return False
    word = bare_sentence.rsplit(None, 1)[-1].lstrip("(\"“'‘[").lower()
    bare = word[:-1]
    if bare in _TITLES:
        return False
    if bare in _SOMETIMES_FINAL or _INITIALS.fullmatch(word):
        return following.split()[0].strip("\"“'‘(,.;").lower() in _STARTERS
    return True


def pieces(text: str, most: int, first: int) -> Iterator[str]:
    """Split a sentence into pieces: at most `first` characters, then twice as many for each, but at most `most`.

    It is split after a clause, else before a conjunction or preposition, else between words, else anywhere.
    """
    limit = min(first, most)
    while len(text) > limit:
        cut = _cut(text, limit)
        yield text[:cut].rstrip()
        text = text[cut:].lstrip()
        limit = min(most, limit * GROWTH)
    if text:
        yield text


def _cut(text: str, limit: int) -> int:
    """The position of a split after at most `limit` characters."""
    least = limit // 4
    window = text[: limit + 1]
    for places in (_CLAUSE, _CONJUNCTION, re.compile(r"\s")):
        ends = [place.end() for place in places.finditer(window) if least <= place.end() <= limit]
        if ends:
            return ends[-1]
    return limit


def plan(sentences_: Iterator[Piece], most: int, first: int = FIRST_CHARACTERS) -> Iterator[Piece]:
    """Split sentences into pieces; the first has at most `first` characters, and all at most `most`.

    Args:
        sentences_: The sentences, consumed lazily.
        most: The maximum length of a piece in characters.
        first: The maximum length of the first piece.
    """
    limit = min(first, most)
    for sentence in sentences_:
        parts = list(pieces(sentence.text, most, limit))
        for number, part in enumerate(parts, 1):
            pause = CLAUSE_SECONDS if _CLAUSE.search(part, max(0, len(part) - 3)) or part[-1] in ",;:" else WORD_SECONDS
            yield Piece(part, sentence.pause if number == len(parts) else pause)
            limit = min(most, limit * GROWTH)
