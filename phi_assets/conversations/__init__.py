"""Chat data: reading, recognising formats, cleaning, splitting and checking. Pure functions; no Dagster, no backend."""
