"""How well a learner says a text."""
