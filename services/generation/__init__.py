"""Writes text."""
