"""What a model has learned, measured on held-out clips."""
