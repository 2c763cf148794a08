"""Scores the fine-tuned model against its base and the champion: `python -m evaluation_code --help`."""
