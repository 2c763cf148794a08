"""The base model and the fine-tuned one."""
