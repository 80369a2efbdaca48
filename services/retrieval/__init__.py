"""Embeds texts, keeps vectors and finds the nearest."""
