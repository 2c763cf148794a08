"""The serving contract without a model: it starts at once, and answers what its weights and the question decide."""
