"""Recordings of any length as words: opened, cut where nobody speaks, heard window by window."""
