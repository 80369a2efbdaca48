"""Reads the text of images."""
