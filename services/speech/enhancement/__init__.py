"""Recordings without their noise and silence, as loud as they should be."""
