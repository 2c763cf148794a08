"""Prompt flow."""
