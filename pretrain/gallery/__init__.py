"""Clips as a page to look at."""
