"""Recordings of any length as words: cut where nobody speaks, heard window by window."""
