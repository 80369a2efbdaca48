"""Text recognisers (OCR)."""
