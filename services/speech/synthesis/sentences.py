"""Text cut to pieces that are spoken one after another: sentences, and clauses where these are long.

The first piece is short, so that the sound begins early, and the next ones may each be twice as long: a voice
that is twice as quick as its speech is never waited for.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

FIRST_CHARACTERS = 40  # of the first piece: two to three seconds of speech
GROWTH = 2
PARAGRAPH_SECONDS, SENTENCE_SECONDS, CLAUSE_SECONDS, WORD_SECONDS = 0.7, 0.35, 0.12, 0.02  # of silence after each
MAX_SENTENCE = 1000  # characters; what goes on for longer is ended at the next point

_PARAGRAPH = re.compile(r"\n\s*\n")
_WRAPPED = 60  # characters of a line that ended because its page did
_END = re.compile(r"""(?<![.!?…])[.!?…]++["'”’»)\]]*+(?=\s|$)|[。！？．｡]++[」』”’）】》\])"']*+""")
_QUOTED = re.compile(r"(?:と|って|、|，)")  # what goes on after a quotation in Japanese
_CLAUSE = re.compile(r"""[,;:–—]+["'”’»)\]]*(?=\s)|(?<=\s)[–—-](?=\s)|[、，；：]""")
_JOINT = re.compile(
    r"\s(?=(?:and|or|but|that|which|who|because|when|while|if|than|as|to|of|in|on|at|for|with|from|by)\s)"
)
_CLOSED = re.compile(r"""["'”’»)\]]+$""")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")
_ITEM = re.compile(r"\W*(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})\.")


def _words(text: str) -> list[str]:
    return text.split()


# What a point after does not end a sentence, whatever follows; and what ends one only where a new one clearly begins.
_TITLES = frozenset(
    _words(
        "dr mr mrs ms prof st gen rep sen lt col sgt capt cpt rev hon mt gov pres supt messrs mme mlle vs cf e.g i.e "
        "viz approx no nos fig figs eq eqs vol vols pp p ch sec ed eds art arts jan feb mar apr jun jul aug sep sept "
        "oct nov dec mon tue tues wed thu thur thurs fri sat sun"
    )
)
_PERHAPS = frozenset(
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
    """What is spoken at once.

    Attributes:
        text: Of it.
        pause: Seconds of silence after it, at the pace of a voice's own.
    """

    text: str
    pause: float


def sentences(text: str) -> Iterator[Piece]:
    """The sentences of a text, one by one. Not the end of one: the points of abbreviations, initials, numbers and
    addresses, and what ends a quotation in the middle of a sentence.
    """
    for paragraph in _PARAGRAPH.split(text.strip()):
        lines = [sentence for line in _lines(paragraph) for sentence in _of_line(line)]
        for number, sentence in enumerate(lines, 1):
            yield Piece(sentence, SENTENCE_SECONDS if number < len(lines) else PARAGRAPH_SECONDS)


def _lines(paragraph: str) -> Iterator[str]:
    """Lines, joined where one was only wrapped at the edge of a page."""
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
    """Whether a sentence ends where it might."""
    sentence = sentence.strip()
    if not following or len(sentence) > MAX_SENTENCE:
        return True
    if following[0].islower() or (sentence[-1] in "」』" and _QUOTED.match(following)):
        return False
    said = _CLOSED.sub("", sentence)
    if not said.endswith(".") or said.endswith(".."):
        return True
    if _ITEM.fullmatch(said):
        return False
    word = said.rsplit(None, 1)[-1].lstrip("(\"“'‘[").lower()
    bare = word[:-1]
    if bare in _TITLES:
        return False
    if bare in _PERHAPS or _INITIALS.fullmatch(word):
        return following.split()[0].strip("\"“'‘(,.;").lower() in _STARTERS
    return True


def pieces(text: str, most: int, first: int) -> Iterator[str]:
    """A sentence in pieces: of at most `first` characters, then of twice as many each, never of more than `most`. Cut
    after a clause, else before a word that joins, else between words, else anywhere.
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
    """Where to cut so that at most `limit` characters come before."""
    least = limit // 4
    window = text[: limit + 1]
    for places in (_CLAUSE, _JOINT, re.compile(r"\s")):
        ends = [place.end() for place in places.finditer(window) if least <= place.end() <= limit]
        if ends:
            return ends[-1]
    return limit


def plan(sentences_: Iterator[Piece], most: int, first: int = FIRST_CHARACTERS) -> Iterator[Piece]:
    """What is spoken one after another, its first piece of at most `first` characters, none longer than `most`.

    Args:
        sentences_: Taken one by one, when the pieces before are.
        most: Characters of a piece.
        first: Characters of the first.
    """
    limit = min(first, most)
    for sentence in sentences_:
        parts = list(pieces(sentence.text, most, limit))
        for number, part in enumerate(parts, 1):
            pause = CLAUSE_SECONDS if _CLAUSE.search(part, max(0, len(part) - 3)) or part[-1] in ",;:" else WORD_SECONDS
            yield Piece(part, sentence.pause if number == len(parts) else pause)
            limit = min(most, limit * GROWTH)
