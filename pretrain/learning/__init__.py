"""A pretraining: what it is made of, how it is watched, what it leaves behind."""
