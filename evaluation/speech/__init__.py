"""Speech accuracy of a fleet on the evaluation set. See docs/explanation/measurements/speech-accuracy.md."""
