"""Forced alignment by a CTC trellis: the most probable path of known tokens through frames.

A path passes the tokens in order; before, between and after them it may pass blanks, and between equal tokens it must
(Graves et al., "Connectionist Temporal Classification", ICML 2006, section 4.1). The most probable path is found by
the Viterbi algorithm and read backwards, as in Kürzinger et al., "CTC-Segmentation of Large Corpora for German
End-to-End Speech Recognition", arXiv:2007.09127; its probability at the frames of a token is the confidence of the
token.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEVER = np.float32(-np.inf)


@dataclass(frozen=True, slots=True)
class Path:
    """The most probable path.

    Attributes:
        starts: (tokens,) the first frame of each token.
        ends: (tokens,) the frame after its last.
        log_probabilities: (tokens,) the mean log probability at its frames.
        score: The log probability of the whole path, blanks included.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    log_probabilities: NDArray[np.float32]
    score: float


def align(log_probabilities: NDArray[np.float32], tokens: NDArray[np.int64], blank: int) -> Path | None:
    """The most probable path of (tokens,) through (frames, vocabulary), in O(frames x tokens) time and bytes.

    Returns:
        The path; None if there are too few frames for any path.
    """
    frames, count = len(log_probabilities), len(tokens)
    if not count or frames < count + int((tokens[1:] == tokens[:-1]).sum()):
        return None
    states = np.full(2 * count + 1, blank)
    states[1::2] = tokens
    skips = np.zeros(len(states), bool)  # a token may follow the one before it at once, if they differ
    skips[3::2] = tokens[1:] != tokens[:-1]
    emitted = log_probabilities[:, states]
    steps = np.zeros((frames, len(states)), np.uint8)  # how many states back the best path came from
    best = np.full(len(states), NEVER)
    best[:2] = emitted[0, :2]
    for frame in range(1, frames):
        one, two = np.roll(best, 1), np.roll(best, 2)
        one[0], two[~skips] = NEVER, NEVER
        ways = np.stack([best, one, two])
        steps[frame] = ways.argmax(axis=0)
        best = ways.max(axis=0) + emitted[frame]
    state = len(states) - 1 - int(best[-2] > best[-1])
    score = float(best[state])
    visited = np.empty(frames, np.int64)
    for frame in range(frames - 1, -1, -1):
        visited[frame] = state
        state -= int(steps[frame, state])
    return _path(visited, emitted, count, score)


def _path(visited: NDArray[np.int64], emitted: NDArray[np.float32], count: int, score: float) -> Path:
    at = np.flatnonzero(visited % 2)
    token = visited[at] // 2
    lengths = np.bincount(token, minlength=count)
    ends = np.cumsum(lengths)
    sums = np.bincount(token, emitted[at, visited[at]], minlength=count)
    return Path(at[ends - lengths], at[ends - 1] + 1, (sums / lengths).astype(np.float32), score)
