"""Pronunciation assessment."""
