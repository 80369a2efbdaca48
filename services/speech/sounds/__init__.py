"""What machines sound like, learned from clips."""
