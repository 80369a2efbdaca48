"""Subtitles: timed words divided into cues, and cues written as SRT, WebVTT or LRC.

The rules are the usual ones (Netflix, Timed Text Style Guide: General Requirements; BBC, Subtitle Guidelines): two
lines of 42 columns, from 1 to 7 seconds, broken at the ends of sentences and clauses and at pauses, never two at once.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from servekit.media.scripts import columns, is_spaced, tokens

MEDIA_TYPES = {"srt": "text/plain", "vtt": "text/vtt", "lrc": "text/plain"}

LINES = 2
COLUMNS = 42  # a Chinese character takes two of them
MIN_MS, MAX_MS = 1000, 7000
GAP_MS = 80  # two frames at 25 a second, so that a change is seen
CROWDED_MIN_MS = 100  # the shortest cue where the next one leaves no room for `MIN_MS`
MAX_SECONDS = 1e7  # later times are errors
PAUSE_SECONDS = 0.3  # where a cue may be broken
SILENCE_SECONDS = 1.0  # where a cue is always broken
_SENTENCE_END = re.compile(r"[.!?…。！？]['\"”’»)\]」』）]*$")
_CLAUSE_END = re.compile(r"[,;:—–，、；：]['\"”’»)\]」』）]*$")
_TIME_TAG = re.compile(r"\[(\d+:[\d:.]+)\]")


@dataclass(frozen=True, slots=True)
class Timed:
    """A text from `start` to `end` seconds: a word, or a phrase whose words have no times."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Cue:
    """A cue: the lines shown from `start` to `end` milliseconds."""

    start: int
    end: int
    lines: tuple[str, ...]


@dataclass(slots=True)
class _Piece:
    """An unbreakable unit: a word, or a part of one; times in milliseconds."""

    start: int
    end: int
    text: str
    spaced: bool  # from the one before it
    is_rest: bool  # of the word before it


def phrases(words: Iterable[Timed]) -> list[list[Timed]]:
    """Words divided into phrases at silences."""
    found: list[list[Timed]] = []
    for word in words:
        if not found or word.start - found[-1][-1].end >= SILENCE_SECONDS:
            found.append([])
        found[-1].append(word)
    return found


def cues(runs: Iterable[Sequence[Timed]]) -> list[Cue]:
    """Runs of words as cues: no cue has words of two runs, and a run that fits is one cue.

    Times are put in order where they are not: cues begin after 0, have a length, and never overlap.
    """
    groups: list[list[_Piece]] = []
    now = 0
    for run in runs:
        pieces = _pieces(run, now)
        if pieces:
            groups += _cut(pieces)
            now = pieces[-1].end
    found: list[Cue] = []
    free = 0
    for number, group in enumerate(groups):
        start = max(group[0].start, free)
        until = groups[number + 1][0].start - GAP_MS if number + 1 < len(groups) else start + MAX_MS
        end = min(max(group[-1].end, start + MIN_MS), start + MAX_MS, until)
        end = max(end, start + CROWDED_MIN_MS)
        found.append(Cue(start, end, _lines(group)))
        free = end + GAP_MS
    return found


def _pieces(run: Iterable[Timed], now: int) -> list[_Piece]:
    """The pieces of a run, from `now` on; a word of several pieces divides its time among them by their width."""
    pieces: list[_Piece] = []
    for timed in run:
        start = max(_milliseconds(timed.start), now)
        end = now = max(_milliseconds(timed.end), start)
        parts = [part for token in tokens(timed.text) for part in _parts(token)]
        widths = [max(1, columns(part)) for part, _ in parts]
        passed, total = 0, sum(widths)
        last = pieces[-1].text if pieces else ""
        for (part, is_rest), width in zip(parts, widths, strict=True):
            begin = start + (end - start) * passed // total
            passed += width
            spaced = not is_rest and is_spaced(last, part)
            pieces.append(_Piece(begin, start + (end - start) * passed // total, part, spaced, is_rest))
            last = part
    return pieces


def _milliseconds(seconds: float) -> int:
    return round(min(max(seconds, 0.0), MAX_SECONDS) * 1000) if math.isfinite(seconds) else 0


def _parts(token: str) -> Iterator[tuple[str, bool]]:
    """A word, or its parts if it is wider than a line; and whether each is a continuation."""
    part, is_rest = "", False
    for letter in token:
        if part and columns(part + letter) > COLUMNS:
            yield part, is_rest
            part, is_rest = "", True
        part += letter
    yield part, is_rest


def _cut(pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    """Divide a run into cues: each as much as fits, broken at the best place."""
    while pieces:
        count = _fitting(pieces)
        if count < len(pieces):
            width = [columns(piece.text) for piece in pieces[:count]]
            full = max(1, sum(width))  # marks alone have none
            count = max(range(1, count + 1), key=lambda k: _quality(pieces, k) + sum(width[:k]) / full)
        yield pieces[:count]
        pieces = pieces[count:]


def _fitting(pieces: Sequence[_Piece]) -> int:
    """How many of the pieces one cue can hold; at least one."""
    lines, filled = 1, -1  # a line begins without a space
    for count, piece in enumerate(pieces):
        width = columns(piece.text)
        if filled >= 0 and filled + piece.spaced + width > COLUMNS:
            lines, filled = lines + 1, -1
        if lines > LINES or (count and piece.end - pieces[0].start > MAX_MS):
            return count
        filled = width if filled < 0 else filled + piece.spaced + width
    return len(pieces)


def _quality(pieces: Sequence[_Piece], count: int) -> float:
    """The score of a break after `count` pieces, in shares of a full cue."""
    last = pieces[count - 1]
    pause = count < len(pieces) and pieces[count].start - last.end >= PAUSE_SECONDS * 1000
    if count < len(pieces) and pieces[count].is_rest:
        return -1.0
    return 0.6 if _SENTENCE_END.search(last.text) else 0.3 if pause or _CLAUSE_END.search(last.text) else 0.0


def _text(pieces: Sequence[_Piece]) -> str:
    return "".join(f" {piece.text}" if piece.spaced and number else piece.text for number, piece in enumerate(pieces))


def _lines(pieces: Sequence[_Piece]) -> tuple[str, ...]:
    """The lines of a cue: one, or two that are about as long, broken at the best place."""
    whole = _text(pieces)
    if columns(whole) <= COLUMNS:
        return (whole,)
    broken = [(place, _text(pieces[:place]), _text(pieces[place:])) for place in range(1, len(pieces))]
    fitting = [row for row in broken if max(columns(row[1]), columns(row[2])) <= COLUMNS]
    _, first, second = max(
        fitting, key=lambda row: _quality(pieces, row[0]) - abs(columns(row[1]) - columns(row[2])) / COLUMNS
    )
    return first, second


def subtitles(runs: Iterable[Sequence[Timed]], form: str) -> str:
    """Runs of words as a file of subtitles, in a form that `MEDIA_TYPES` has."""
    writers = {"srt": srt, "vtt": vtt, "lrc": lrc}
    return writers[form](cues(runs))


def srt(rows: Sequence[Cue]) -> str:
    """SubRip, which has no escapes: an arrow in the text is replaced, since it would be read as times."""
    blocks = []
    for number, cue in enumerate(rows, 1):
        text = "\n".join(cue.lines).replace("-->", "→")
        blocks.append(f"{number}\n{_clock(cue.start)} --> {_clock(cue.end)}\n{text}\n")
    return "\n".join(blocks)


def vtt(rows: Sequence[Cue]) -> str:
    """WebVTT, as W3C specifies it."""
    blocks = ["WEBVTT\n"]
    for cue in rows:
        text = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{text}\n")
    return "\n".join(blocks)


def lrc(rows: Sequence[Cue]) -> str:
    """LRC: each line with its start; an empty line where a long silence follows."""
    written: list[str] = []
    for cue, after in pairwise([*rows, None]):
        if cue is not None:
            written.append(_stamp(cue.start) + _TIME_TAG.sub(r"(\1)", " ".join(cue.lines)))
            if after is None or after.start - cue.end >= MAX_MS:
                written.append(_stamp(cue.end))
    return "".join(f"{line}\n" for line in written)


def _clock(milliseconds: int, point: str = ",") -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"


def _stamp(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"[{seconds // 60:02}:{seconds % 60:02}.{rest // 10:02}]"
