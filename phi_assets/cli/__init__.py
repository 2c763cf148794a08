"""The `phi` command: starts Dagster, and submits and follows runs through Dagster's own API."""
