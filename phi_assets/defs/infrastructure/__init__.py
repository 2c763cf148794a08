"""Infrastructure that the other assets need."""
