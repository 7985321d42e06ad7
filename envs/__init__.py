"""Robot environments with the Gymnasium interface; importing this package registers them."""
