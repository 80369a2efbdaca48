"""The evaluation set of speech, generated on demand. See docs/explanation/measurements/speech-accuracy.md."""
