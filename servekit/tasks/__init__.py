"""The task table: which models a process loads, when, and behind which scheduler."""
