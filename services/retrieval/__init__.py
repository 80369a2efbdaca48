"""Embeds texts, stores vectors and searches them."""
