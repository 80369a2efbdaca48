"""Evaluation of a running fleet: metrics, the canary set and the speech evaluation set."""
