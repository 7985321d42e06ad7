"""Annotators of depth."""
