"""Speech as words while it is spoken: phrases by their pauses, words that stand, guesses that may change."""
