"""Recordings opened and decoded bit by bit, and where somebody speaks in them."""
