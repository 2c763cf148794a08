"""Blob storage: a front door that decides as Azure does, and Azurite behind it."""
