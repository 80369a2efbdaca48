"""The evaluation set of speech: made again wherever it is wanted, never kept in git. See docs/accuracy.md."""
