"""Fine-tuning that runs bare: `python training_code/fine_tune.py --help`. It imports neither the project
nor Dagster.
"""
