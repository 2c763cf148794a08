"""The serving contract without a model: starts at once; an answer is a hash of the weights and the question."""
