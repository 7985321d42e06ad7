"""A trained policy with its encoder, or an encoder alone, as one file for a robot."""
