"""Anomalous sound detection, trained on clips of a machine."""
