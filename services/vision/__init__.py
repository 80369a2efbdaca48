"""Understands images and films."""
