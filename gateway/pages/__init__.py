"""Pages that browsers are shown: each one file, which asks for nothing from elsewhere."""
