"""The implementations of the ports: one folder for each backend, and what both of them use."""
