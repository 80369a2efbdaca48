"""Model weights: their sources, download and verification."""
