"""From an answer back to its data: deployment, model version, training, dataset, and the conversations most like it."""
