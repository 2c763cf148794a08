"""Trace an answer back to its data: deployment, model version, training, dataset and the most similar conversations."""
