"""Owners of the assets, as Dagster's UI shows them."""

ML = ["team:ml"]
PLATFORM = ["team:platform"]
