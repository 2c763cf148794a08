"""The endpoint and its deployments."""
