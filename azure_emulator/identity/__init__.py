"""Entra ID: who is signed in, tokens and certificates."""
