"""Makes a model with int8 or int4 weights for onnxruntime, and measures how far it is from the full model."""
