"""Egocentric pretraining: depth- and text-aware encoders (not built yet)."""
