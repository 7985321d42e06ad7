"""Annotators that write captions."""
