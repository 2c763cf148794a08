"""What looks after the laptop's graph."""
