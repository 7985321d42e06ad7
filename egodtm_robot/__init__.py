"""Robot policy learning on frozen egocentric representations."""

__version__ = "0.1.0"
