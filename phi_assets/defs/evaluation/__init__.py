"""Evaluation of the fine-tuned model, promotion checks, registration and model card."""
