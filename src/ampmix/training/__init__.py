"""Training of one model, or of several seeds at once."""
