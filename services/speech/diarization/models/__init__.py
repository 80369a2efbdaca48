"""Diarizers and speaker encoders."""
