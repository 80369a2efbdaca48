"""Texts as speech: read aloud as words, cut into pieces, spoken."""
