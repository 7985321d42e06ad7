"""Annotators that follow hands and objects through a clip."""
