"""Points to store, and their scores by definition."""

import numpy as np

from services.retrieval.stores import Metric, Point


def example_points(count: int, dimensions: int, seed: int = 0):
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return [Point(f"p{n}", f"text {n}", {"parity": n % 2, "n": n}) for n in range(count)], vectors


def exact_scores(metric: Metric, vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Scores by their definition, in float64."""
    v, q = vectors.astype(np.float64), query.astype(np.float64)
    match metric:
        case Metric.COSINE:
            return v @ q / np.linalg.norm(v, axis=1) / np.linalg.norm(q)
        case Metric.DOT:
            return v @ q
        case Metric.EUCLIDEAN:
            return -np.linalg.norm(v - q, axis=1)
