"""Spectral clustering of the speaker embeddings of a recording.

A graph of nearest neighbours, whose number is chosen as by Park et al. (arXiv:2003.02405), is partitioned by its
spectrum for two speakers, three, and so on. The eigengap alone also splits one speaker with a varying tone; so each
partition is smoothed in time, as speakers rarely change within half a second, and is accepted only if no two of its
speakers are as similar as parts of the speech of one speaker.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken

LEAST_WINDOWS = 5  # the minimum number of windows of a speaker: two seconds
MOST_NODES = 500  # the maximum size of the graph; longer recordings are subsampled
NEIGHBOURS = (0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.25)  # the fractions of all nodes that are tried
ROUNDS = 3
SHARPNESS = 20.0  # the log probability per unit of cosine similarity
CHANGE = 4.0  # the penalty in log probability for a change of speaker during speech
CHANGE_AT_PAUSE = 1.5  # the penalty after a pause


@dataclass(frozen=True, slots=True)
class Clusters:
    """The speakers of a recording.

    Attributes:
        labels: The speaker of each window from 0, int64 `[windows]`.
        centroids: The centroids of length 1, float32 `[speakers, dimensions]`.
        confidences: The confidence of each label from 0 to 1, float32 `[windows]`.
    """

    labels: NDArray[np.int64]
    centroids: NDArray[np.float32]
    confidences: NDArray[np.float32]


def cluster(
    embeddings: NDArray[np.float32],
    after_pause: NDArray[np.bool_],
    speakers: int,
    max_speakers: int,
    clustering_threshold: float,
    cancellation: CancellationToken,
) -> Clusters:
    """Cluster embeddings by speaker.

    Args:
        embeddings: `[windows, dimensions]`, each of length 1, in the order of time; one at least.
        after_pause: `[windows]`, whether a pause comes before each.
        speakers: The number of speakers; 0 to estimate it.
        max_speakers: The largest number to estimate.
        clustering_threshold: The cosine similarity of two centroids from which they are one speaker.
        cancellation: Checked between the steps.

    Raises:
        Cancelled, DeadlineExceeded: The token was cancelled.
    """
    alone = np.zeros(len(embeddings), np.int64)
    best = alone, _centroids(embeddings, alone)
    max_speakers = min(speakers or max_speakers, len(embeddings))
    if max_speakers < 2:
        return _result(embeddings, *best)
    step = -(-len(embeddings) // MOST_NODES)
    nodes = embeddings[::step]
    space = _spectrum(nodes, max_speakers, cancellation)
    failures = 0
    for count in [max_speakers] if speakers else range(2, max_speakers + 1):
        cancellation.raise_if_cancelled()
        labels, centroids = _smooth(embeddings, _centroids(nodes, _means(space[:, :count], count)), after_pause)
        alike = centroids @ centroids.T - 2 * np.eye(len(centroids))
        if speakers or (
            len(centroids) == count
            and alike.max() < clustering_threshold
            and np.bincount(labels).min() >= LEAST_WINDOWS
        ):
            best, failures = (labels, centroids), 0
        else:
            failures += 1
            if failures == 2:
                break
    return _result(embeddings, *best)


def _result(embeddings: NDArray[np.float32], labels: NDArray[np.int64], centroids: NDArray[np.float32]) -> Clusters:
    scores = SHARPNESS * embeddings @ centroids.T
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    chosen = shares[np.arange(len(labels)), labels] / shares.sum(axis=1)
    return Clusters(labels, centroids, chosen.astype(np.float32))


def _spectrum(nodes: NDArray[np.float32], max_speakers: int, cancellation: CancellationToken) -> NDArray[np.float64]:
    """The first eigenvectors `[nodes, max_speakers]` of the graph with the widest relative eigengap."""
    alike = nodes @ nodes.T
    order = np.argsort(-alike, axis=1, kind="stable")
    widest, space = 0.0, np.zeros((len(nodes), max_speakers))
    for share in NEIGHBOURS:
        cancellation.raise_if_cancelled()
        count = min(max(2, int(share * len(nodes))), len(nodes) - 1)
        graph = np.zeros(alike.shape)
        np.put_along_axis(graph, order[:, :count], 1.0, axis=1)
        graph = (graph + graph.T) / 2
        values, vectors = np.linalg.eigh(np.diag(graph.sum(axis=1)) - graph)
        gap = np.diff(values[: max_speakers + 1]).max() / max(values[-1], 1e-9) / count
        if gap > widest:
            widest, space = gap, vectors[:, :max_speakers]
    return space


def _means(points: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Deterministic k-means, initialized with points far from one another."""
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmax())]
    while len(chosen) < count:
        chosen.append(int(_distances(points, points[chosen]).min(axis=1).argmax()))
    centroids = points[chosen]
    labels = np.zeros(len(points), np.int64)
    for _ in range(50):
        before, labels = labels, _distances(points, centroids).argmin(axis=1)
        if (labels == before).all():
            break
        centroids = np.stack(
            [points[labels == k].mean(axis=0) if (labels == k).any() else centroids[k] for k in range(count)]
        )
    return labels


def _distances(points: NDArray[np.float64], centroids: NDArray[np.float64]) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = np.linalg.norm(points[:, None] - centroids, axis=2)
    return distances


def _centroids(embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """The mean embedding of every label that occurs, `[speakers, dimensions]`, of length 1."""
    sums = np.stack([embeddings[labels == label].sum(axis=0) for label in np.unique(labels)])
    centroids: NDArray[np.float32] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    return centroids


def _smooth(
    embeddings: NDArray[np.float32], centroids: NDArray[np.float32], after_pause: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The most probable sequence of speakers, and their centroids; speakers without a window are removed."""
    for _ in range(ROUNDS):
        labels = _most_probable_path(SHARPNESS * embeddings @ centroids.T, after_pause)
        centroids = _centroids(embeddings, labels)
    labels = _most_probable_path(SHARPNESS * embeddings @ centroids.T, after_pause)
    present, labels = np.unique(labels, return_inverse=True)
    return labels, centroids[present]


def _most_probable_path(scores: NDArray[np.floating], after_pause: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The Viterbi algorithm over log probabilities `[windows, speakers]`, with a penalty for every change."""
    speakers = np.arange(scores.shape[1])
    came_from = np.zeros(scores.shape, np.int64)
    best = scores[0].astype(np.float64)
    for window in range(1, len(scores)):
        leader = int(best.argmax())
        changed = best[leader] - (CHANGE_AT_PAUSE if after_pause[window] else CHANGE)
        came_from[window] = np.where(best >= changed, speakers, leader)
        best = np.maximum(best, changed) + scores[window]
    labels = np.zeros(len(scores), np.int64)
    labels[-1] = best.argmax()
    for window in range(len(scores) - 1, 0, -1):
        labels[window - 1] = came_from[window, labels[window]]
    return labels


def match_speakers(
    centroids: NDArray[np.float32], known: Sequence[NDArray[np.float32]], least: float
) -> dict[int, int]:
    """Match speakers with known speakers, `{speaker: known}`: the most similar first, each at most once.

    Args:
        centroids: The centroids of the speakers, `[speakers, dimensions]`.
        known: The embeddings of the known speakers, `[dimensions]` each.
        least: The minimum cosine similarity of a match.
    """
    if not known:
        return {}
    alike = centroids @ np.stack(known).T
    found: dict[int, int] = {}
    for place in np.argsort(-alike, axis=None, kind="stable").tolist():
        speaker, who = divmod(place, len(known))
        if alike[speaker, who] >= least and speaker not in found and who not in found.values():
            found[speaker] = who
    return found
