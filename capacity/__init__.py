"""Capacity planning: `polyphony plan` and `polyphony simulate`."""
