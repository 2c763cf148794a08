"""What a model is worth, and the gate."""
