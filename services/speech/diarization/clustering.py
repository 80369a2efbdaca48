"""Clustering: which of the voices that were heard along a recording are one person's.

A graph of nearest neighbours is cut by its spectrum, the neighbours counted as Park et al. do (arXiv:2003.02405), for
two people, three, and so on. Their gap of eigenvalues also finds several people where there is one, who reads another
sentence in another mood; so each cut is smoothed in time, as the voice of one person does not change from half a
second to the next, and stands only if no two of its people are as alike as one person is to himself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servekit.rpc.context import CancellationToken

LEAST_WINDOWS = 5  # of a person: two seconds
MOST_NODES = 500  # of the graph; of more windows it takes every second, every third, ... but all are then told apart
NEIGHBOURS = (0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.25)  # shares of all nodes that are tried
ROUNDS = 3
SHARPNESS = 20.0  # of a cosine as a log probability
CHANGE = 4.0  # log probability that a change of speaker costs in the midst of speech
CHANGE_AT_PAUSE = 1.5  # and after a pause


@dataclass(frozen=True, slots=True)
class Clusters:
    """Who is heard.

    Attributes:
        labels: int64 `[windows]`, a person each, numbered from 0.
        middles: float32 `[people, dimensions]`, of length 1.
        confidences: float32 `[windows]`, how much likelier this person is than the others together, 0 to 1.
    """

    labels: NDArray[np.int64]
    middles: NDArray[np.float32]
    confidences: NDArray[np.float32]


def cluster(
    voices: NDArray[np.float32],
    after_pause: NDArray[np.bool_],
    speakers: int,
    most: int,
    same_voice: float,
    cancellation: CancellationToken,
) -> Clusters:
    """Tell people apart.

    Args:
        voices: `[windows, dimensions]`, each of length 1, in the order of time; one at least.
        after_pause: `[windows]`, whether a pause comes before each.
        speakers: How many there are; 0 to find out.
        most: How many are looked for where that is to be found out.
        same_voice: The cosine of two people's middles from which they are one.
        cancellation token: Looked at between the steps.

    Raises:
        Cancelled, DeadlineExceeded: The cancellation token was set.
    """
    alone = np.zeros(len(voices), np.int64)
    best = alone, _middles(voices, alone)
    most = min(speakers or most, len(voices))
    if most < 2:
        return _told(voices, *best)
    step = -(-len(voices) // MOST_NODES)
    nodes = voices[::step]
    space = _spectrum(nodes, most, cancellation)
    failures = 0
    for count in [most] if speakers else range(2, most + 1):
        cancellation.raise_if_cancelled()
        labels, middles = _smooth(voices, _middles(nodes, _means(space[:, :count], count)), after_pause)
        alike = middles @ middles.T - 2 * np.eye(len(middles))
        if speakers or (
            len(middles) == count and alike.max() < same_voice and np.bincount(labels).min() >= LEAST_WINDOWS
        ):
            best, failures = (labels, middles), 0
        else:
            failures += 1
            if failures == 2:
                break
    return _told(voices, *best)


def _told(voices: NDArray[np.float32], labels: NDArray[np.int64], middles: NDArray[np.float32]) -> Clusters:
    scores = SHARPNESS * voices @ middles.T
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    chosen = shares[np.arange(len(labels)), labels] / shares.sum(axis=1)
    return Clusters(labels, middles, chosen.astype(np.float32))


def _spectrum(nodes: NDArray[np.float32], most: int, cancellation: CancellationToken) -> NDArray[np.float64]:
    """The first eigenvectors `[nodes, most]` of the graph whose gap is widest for the neighbours that it needs."""
    alike = nodes @ nodes.T
    order = np.argsort(-alike, axis=1, kind="stable")
    widest, space = 0.0, np.zeros((len(nodes), most))
    for share in NEIGHBOURS:
        cancellation.raise_if_cancelled()
        count = min(max(2, int(share * len(nodes))), len(nodes) - 1)
        graph = np.zeros(alike.shape)
        np.put_along_axis(graph, order[:, :count], 1.0, axis=1)
        graph = (graph + graph.T) / 2
        values, vectors = np.linalg.eigh(np.diag(graph.sum(axis=1)) - graph)
        gap = np.diff(values[: most + 1]).max() / max(values[-1], 1e-9) / count
        if gap > widest:
            widest, space = gap, vectors[:, :most]
    return space


def _means(points: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """k-means, begun with points far from one another, so that it is the same every time."""
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmax())]
    while len(chosen) < count:
        chosen.append(int(_distances(points, points[chosen]).min(axis=1).argmax()))
    middles = points[chosen]
    labels = np.zeros(len(points), np.int64)
    for _ in range(50):
        before, labels = labels, _distances(points, middles).argmin(axis=1)
        if (labels == before).all():
            break
        middles = np.stack(
            [points[labels == k].mean(axis=0) if (labels == k).any() else middles[k] for k in range(count)]
        )
    return labels


def _distances(points: NDArray[np.float64], middles: NDArray[np.float64]) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = np.linalg.norm(points[:, None] - middles, axis=2)
    return distances


def _middles(voices: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """The mean voice of every label that occurs, `[people, dimensions]`, of length 1."""
    sums = np.stack([voices[labels == label].sum(axis=0) for label in np.unique(labels)])
    middles: NDArray[np.float32] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    return middles


def _smooth(
    voices: NDArray[np.float32], middles: NDArray[np.float32], after_pause: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The likeliest sequence of people, and their middles by it; whoever never speaks is left out."""
    for _ in range(ROUNDS):
        labels = _likeliest(SHARPNESS * voices @ middles.T, after_pause)
        middles = _middles(voices, labels)
    labels = _likeliest(SHARPNESS * voices @ middles.T, after_pause)
    present, labels = np.unique(labels, return_inverse=True)
    return labels, middles[present]


def _likeliest(scores: NDArray[np.floating], after_pause: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Viterbi's algorithm over log probabilities `[windows, people]`, where every change has its price."""
    people = np.arange(scores.shape[1])
    came_from = np.zeros(scores.shape, np.int64)
    best = scores[0].astype(np.float64)
    for window in range(1, len(scores)):
        leader = int(best.argmax())
        changed = best[leader] - (CHANGE_AT_PAUSE if after_pause[window] else CHANGE)
        came_from[window] = np.where(best >= changed, people, leader)
        best = np.maximum(best, changed) + scores[window]
    labels = np.zeros(len(scores), np.int64)
    labels[-1] = best.argmax()
    for window in range(len(scores) - 1, 0, -1):
        labels[window - 1] = came_from[window, labels[window]]
    return labels


def matched(middles: NDArray[np.float32], known: Sequence[NDArray[np.float32]], least: float) -> dict[int, int]:
    """Which people are which of the known ones, `{person: known}`: the most alike first, each at most once.

    Args:
        middles: Of the people, `[people, dimensions]`.
        known: Of the known ones, `[dimensions]` each.
        least: The cosine from which two are one.
    """
    if not known:
        return {}
    alike = middles @ np.stack(known).T
    found: dict[int, int] = {}
    for place in np.argsort(-alike, axis=None, kind="stable").tolist():
        person, who = divmod(place, len(known))
        if alike[person, who] >= least and person not in found and who not in found.values():
            found[person] = who
    return found
