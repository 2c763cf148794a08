"""Conversations, from raw to published."""
