"""Models as data, and how a process loads and runs them."""
