"""Learning policies from demonstrations on frozen features."""
