"""The prompts, as data: one versioned file each."""
