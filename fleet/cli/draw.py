"""`polyphony draw`: a picture of a recording with its waveform, words and speakers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import av
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from fleet.errors import FleetError

# The palette of Okabe and Ito, which is safe for colour blindness; the speaker's label says the same.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D31", "#666666")
SECONDS_A_ROW = 10.0
ROW_INCHES = 1.35
WIDTH_INCHES = 11.0
COLUMNS = 1000  # of the waveform in a row
LETTER_SECONDS = 0.07  # width of a letter
MARGIN_SECONDS = 0.8  # on the right of a row, for words that begin near its end
MAX_SHIFT = 0.35  # seconds by which a word may be shifted before it moves to the second line
MAX_SECONDS = 600.0  # longest recording that is drawn


@dataclass(frozen=True)
class WordLabel:
    """A word, from `start` to `end` seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class SpeakerBand:
    """A turn of a speaker, from `start` to `end` seconds."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True)
class Timeline:
    """The content of a picture.

    Attributes:
        title: The name of the recording.
        seconds: The length of the recording.
        peaks: The peak amplitude of each column of a row, 0 to 1.
        words: The words of the transcript.
        turns: The turns of the speakers.
    """

    title: str
    seconds: float
    peaks: NDArray[np.float32]
    words: Sequence[WordLabel]
    turns: Sequence[SpeakerBand]


def talk(path: Path, transcript: dict[str, Any], speakers: dict[str, Any]) -> Timeline:
    """Combine a transcript and a diarization into the content of a picture.

    Args:
        path: The audio file.
        transcript: A transcription as verbose_json, with its words.
        speakers: A diarization.

    Raises:
        FleetError: The recording is too long, or cannot be read.
    """
    seconds = float(speakers["duration"])
    if seconds > MAX_SECONDS:
        raise FleetError(f"{path} must have at most {MAX_SECONDS:.0f} s, got {seconds:.0f} s")
    return Timeline(
        path.name,
        seconds,
        _peaks(path),
        [WordLabel(word["start"], word["end"], word["word"]) for word in transcript.get("words", ())],
        [SpeakerBand(turn["start"], turn["end"], turn["speaker"]) for turn in speakers["turns"]],
    )


def _peaks(path: Path) -> NDArray[np.float32]:
    size = int(SECONDS_A_ROW * 16_000 / COLUMNS)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
    try:
        with av.open(str(path)) as container:
            frames = [frame for decoded in container.decode(audio=0) for frame in resampler.resample(decoded)]
    except (av.FFmpegError, IndexError) as error:
        raise FleetError(f"{path} cannot be read as audio") from error
    samples = np.abs(np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]))
    peaks: NDArray[np.float32] = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size).max(axis=1)
    return peaks / max(float(peaks.max()), 1e-3)


def draw(talk: Timeline, target: Path) -> None:
    """Draw a timeline, `SECONDS_A_ROW` in each row; the suffix of the target selects the format: svg, png, pdf.

    Raises:
        FleetError: The suffix is unknown, or the file cannot be written.
    """
    rows = max(1, ceil(talk.seconds / SECONDS_A_ROW))
    names = list(dict.fromkeys(turn.speaker for turn in talk.turns))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "polyphony", "font.family": "sans-serif"}):
        figure = Figure(figsize=(WIDTH_INCHES, ROW_INCHES * rows + 0.75), layout="constrained")
        axes = np.atleast_1d(figure.subplots(rows, 1))
        for number, ax in enumerate(axes):
            _row(ax, talk, number * SECONDS_A_ROW, colours)
        axes[-1].set_xlabel("seconds", fontsize=8, loc="left")
        figure.suptitle(f"{talk.title}, {talk.seconds:.1f} s", fontsize=11, x=0.01, ha="left")
        handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
        if handles:
            figure.legend(handles=handles, loc="outside upper right", ncols=min(len(handles), 8), frameon=False)
        try:
            figure.savefig(target, dpi=130, metadata={"Date": None} if target.suffix == ".svg" else None)
        except (ValueError, OSError) as error:
            raise FleetError(f"{target} cannot be written: {error}") from error


def _row(ax: Axes, talk: Timeline, start: float, colours: dict[str, str]) -> None:
    end = start + SECONDS_A_ROW
    edge = end + MARGIN_SECONDS
    ax.set_xlim(start, edge)
    ax.set_ylim(-2.2, 1.35)
    for turn in talk.turns:
        if turn.start < end and turn.end > start:
            left, right = max(turn.start, start), min(turn.end, end)
            ax.axvspan(left, right, ymin=0.36, color=colours[turn.speaker], alpha=0.22, linewidth=0)
            ax.plot([left, right], [1.28, 1.28], color=colours[turn.speaker], linewidth=4, solid_capstyle="butt")
            if right - left > LETTER_SECONDS * (len(turn.speaker) + 1):
                ax.text(left + 0.05, 0.93, turn.speaker, fontsize=8, weight="bold", va="center")
    column = SECONDS_A_ROW / COLUMNS
    first = round(start / column)
    peaks = talk.peaks[first : first + COLUMNS]
    times = start + (np.arange(len(peaks)) + 0.5) * column
    ax.fill_between(times, -0.85 * peaks, 0.85 * peaks, color="#333333", linewidth=0)
    for word, at, line in placed([word for word in talk.words if start <= word.start < end], edge):
        ax.plot([word.start, word.start], [-0.85, -1.05], color="#999999", linewidth=0.6)
        ax.text(at, -1.28 - 0.55 * line, word.text, fontsize=8, va="center")
    last = min(end, talk.seconds)
    ax.spines["bottom"].set_bounds(start, last)
    ax.set_xticks(np.arange(start, last + 1e-6, 2.0))
    ax.set_yticks([])
    ax.tick_params(labelsize=8)
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)


def placed(words: Sequence[WordLabel], edge: float) -> list[tuple[WordLabel, float, int]]:
    """The position of each word of a row: its second, and its line, 0 or 1.

    A word goes on the first line unless it would be shifted by more than `MAX_SHIFT`. No word exceeds the right
    `edge`, and words overlap only where both lines are full.
    """
    found: list[tuple[WordLabel, float, int]] = []
    free = [-np.inf, -np.inf]  # the second from which each line is free
    for word in words:
        width = LETTER_SECONDS * (len(word.text) + 1)
        latest = edge - width
        wanted = min(word.start, latest)
        shifts = [max(0.0, since - wanted) for since in free]
        line = 0 if shifts[0] <= min(MAX_SHIFT, latest - wanted) else int(shifts[1] < shifts[0])
        at = min(wanted + shifts[line], latest)
        found.append((word, at, line))
        free[line] = at + width
    return found
