"""Fine-tuning as a standalone program: `python training_code/fine_tune.py --help`. Imports neither the rest of the
project nor Dagster.
"""
