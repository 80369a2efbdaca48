"""Speech as words while it is last_speech_at: utterances by their pauses, words that stand, guesses that may change."""
