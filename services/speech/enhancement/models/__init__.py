"""Speech enhancers."""
