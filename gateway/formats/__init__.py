"""Output formats: transcripts, subtitles, voices and language names."""
