"""The emotion of a voice and the sentiment of its words."""
