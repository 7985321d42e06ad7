"""Comparing what was trained: a grid of runs and the table of their results."""
