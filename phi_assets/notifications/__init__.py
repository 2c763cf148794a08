"""Failures reach a person: what is a cause, who was told of it, and how it is said."""
