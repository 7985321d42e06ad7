"""Real video: adapters that read published annotation files as they are, and its decoding."""
