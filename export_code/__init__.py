"""Writes a trained model for other runtimes: a GGUF file for llama.cpp, or a folder of safetensors."""
