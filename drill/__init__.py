"""Drills: faults injected into a fleet of their own, and whether what is promised about them was kept."""
