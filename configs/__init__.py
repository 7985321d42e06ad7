"""Hydra configuration groups, packaged so that an installed wheel finds them."""
