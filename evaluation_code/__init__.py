"""Scores the model that will be served against its base and the champion: `python -m evaluation_code --help`."""
