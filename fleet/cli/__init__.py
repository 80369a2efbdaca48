"""The `polyphony` command, one file per verb."""
