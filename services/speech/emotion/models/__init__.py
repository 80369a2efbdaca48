"""Sentiment classifiers and emotion recognizers."""
