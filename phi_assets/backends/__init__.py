"""The implementations of the ports: one folder for each backend, and modules that both use."""
