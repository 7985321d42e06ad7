"""Detectors of hands and objects, ready-made and trained here."""
