"""How much of what a fleet needs: `polyphony plan` and `polyphony simulate`."""
