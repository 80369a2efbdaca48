"""Telling embeddings apart, on embeddings that are made: directions in space with noise around them."""

import numpy as np
import pytest

from servekit.context import CancellationToken
from servekit.errors import Cancelled
from services.speech.diarization.clustering import MOST_NODES, cluster, match_speakers

DIMENSIONS = 64
SAME = 0.84


def embeddings(turns, speakers=4, spread=0.075, seed=0):
    """One voice a window, `turns` being (speaker, windows); any two speakers's centroids are 0.6 alike."""
    rng = np.random.default_rng(seed)
    common, *own = np.linalg.qr(rng.normal(size=(DIMENSIONS, speakers + 1)))[0].T
    centroids = np.sqrt(0.6) * common + np.sqrt(0.4) * np.stack(own)
    labels = np.concatenate([[speaker] * windows for speaker, windows in turns])
    noisy = centroids[labels] + rng.normal(0, spread, (len(labels), DIMENSIONS))
    starts = np.concatenate([np.arange(windows) == 0 for _, windows in turns])
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32), starts, labels


def agree(found, labels):
    """Whether both make the same groups, but for one window in fifty."""
    pairs = (found[:, None] == found) == (labels[:, None] == labels)
    return pairs.mean() > 0.98


def test_one_person_is_one():
    heard, pauses, _ = embeddings([(0, 20)] * 6)
    clusters = cluster(heard, pauses, 0, 8, SAME, CancellationToken())
    assert set(clusters.labels) == {0}
    assert (clusters.confidences == 1).all()


@pytest.mark.parametrize("speakers", [2, 3, 4])
def test_as_many_are_found_as_there_are(speakers):
    heard, pauses, labels = embeddings([(turn % speakers, 12) for turn in range(5 * speakers)])
    clusters = cluster(heard, pauses, 0, 8, SAME, CancellationToken())
    assert len(clusters.centroids) == speakers
    assert agree(clusters.labels, labels)
    assert clusters.confidences.min() > 0.5


def test_as_many_are_found_as_are_said_and_no_more_than_allowed():
    heard, pauses, labels = embeddings([(turn % 3, 12) for turn in range(15)])
    assert len(cluster(heard, pauses, 2, 8, SAME, CancellationToken()).centroids) == 2
    assert len(cluster(heard, pauses, 0, 2, SAME, CancellationToken()).centroids) <= 2
    assert agree(cluster(heard, pauses, 3, 8, SAME, CancellationToken()).labels, labels)


def test_a_single_window_and_two_of_one_voice():
    heard, pauses, _ = embeddings([(0, 2)])
    assert cluster(heard[:1], pauses[:1], 0, 8, SAME, CancellationToken()).labels.tolist() == [0]
    assert cluster(heard, pauses, 0, 8, SAME, CancellationToken()).labels.tolist() == [0, 0]
    assert len(cluster(heard, pauses, 5, 8, SAME, CancellationToken()).centroids) <= 2


def test_a_window_that_sounds_like_another_does_not_interrupt():
    heard, pauses, _ = embeddings([(turn % 2, 12) for turn in range(10)])
    heard[4] = 0.4 * heard[4] + 0.6 * heard[16]
    heard[4] /= np.linalg.norm(heard[4])
    labels = cluster(heard, pauses, 2, 8, SAME, CancellationToken()).labels
    assert len(set(labels[:12])) == 1
    assert labels[0] != labels[12]


def test_hours_of_turns_are_clustered_with_a_bounded_graph():
    heard, pauses, labels = embeddings([(turn % 3, 20) for turn in range(270)])
    assert len(heard) > 10 * MOST_NODES
    clusters = cluster(heard, pauses, 0, 8, SAME, CancellationToken())
    assert len(clusters.centroids) == 3
    assert (np.bincount(clusters.labels) == np.bincount(labels)[:3]).all()


def test_it_stops_when_nobody_waits():
    heard, pauses, _ = embeddings([(0, 20), (1, 20)])
    cancellation = CancellationToken()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        cluster(heard, pauses, 0, 8, SAME, cancellation)


def test_known_voices_are_given_to_the_most_alike_once():
    speakers = np.eye(3, 8, dtype=np.float32)
    near = speakers[1] * 0.9 + speakers[0] * 0.3
    assert match_speakers(speakers, [], 0.8) == {}
    assert match_speakers(speakers, [near], 0.8) == {1: 0}
    assert match_speakers(speakers, [speakers[1], near], 0.8) == {1: 0}
    assert match_speakers(speakers, [near, speakers[1]], 0.2) == {1: 1, 0: 0}
