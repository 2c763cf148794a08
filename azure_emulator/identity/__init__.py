"""Entra ID: sign-in, tokens and certificates."""
