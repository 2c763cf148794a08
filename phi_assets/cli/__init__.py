"""What the `phi` command does: Dagster started, runs submitted and followed, through Dagster's own API."""
