"""Egocentric pretraining: clips, annotation, the model, its training and its evaluation."""
