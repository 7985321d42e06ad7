"""Detectors of hands and objects: how they are trained."""
