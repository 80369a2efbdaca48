"""Images, audio, text scripts, and the object store that holds media."""
