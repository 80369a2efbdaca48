"""How good a fleet's speech is, over the evaluation set. See docs/accuracy.md."""
