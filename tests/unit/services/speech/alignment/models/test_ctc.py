from itertools import groupby, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.speech.alignment.models.ctc import align


def emissions(rows):
    return np.log(np.asarray(rows, np.float32) / np.sum(rows, axis=1, keepdims=True))


def by_hand(log_probabilities, tokens):
    """The best of all paths that say the tokens; 0 is the blank."""
    frames, letters = log_probabilities.shape
    best = None
    for path in product(range(letters), repeat=frames):
        if [token for token, _ in groupby(path) if token] == list(tokens):
            score = sum(log_probabilities[frame, token] for frame, token in enumerate(path))
            best = max(best or (score, path), (score, path))
    return best


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 2), min_size=1, max_size=4), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_it_finds_the_best_of_all_paths(tokens, frames, seed):
    logs = emissions(np.random.default_rng(seed).random((frames, 3)) + 0.01)
    path, expected = align(logs, np.array(tokens), 0), by_hand(logs, tokens)
    assert (path is None) == (expected is None)
    if path is None:
        return
    score, states = expected
    assert path.score == pytest.approx(float(score), abs=1e-4)
    said = np.zeros(frames, int)
    for token, start, end in zip(tokens, path.starts, path.ends, strict=True):
        assert end > start
        said[start:end] = token
    assert said.tolist() == list(states)
    means = [logs[start:end, token].mean() for token, start, end in zip(tokens, path.starts, path.ends, strict=True)]
    assert path.log_probabilities == pytest.approx(means, abs=1e-4)


def test_frames_and_confidences_of_a_clear_case():
    clear = [[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [0.9, 0.05, 0.05]]
    path = align(emissions(clear), np.array([1, 2]), 0)
    assert (path.starts.tolist(), path.ends.tolist()) == ([1, 4], [3, 5])
    assert np.exp(path.log_probabilities) == pytest.approx([0.8, 0.8], abs=1e-3)


def test_the_same_token_twice_needs_a_blank_between():
    logs = emissions([[0.1, 0.9]] * 3)
    path = align(logs, np.array([1, 1]), 0)
    assert (path.starts.tolist(), path.ends.tolist()) == ([0, 2], [1, 3])
    assert align(logs[:2], np.array([1, 1]), 0) is None
    assert align(logs, np.array([], np.int64), 0) is None
