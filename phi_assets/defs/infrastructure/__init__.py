"""What the graph stands on."""
