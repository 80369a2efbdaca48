"""Sound analyzers."""
