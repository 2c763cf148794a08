"""Blob storage: a gate that authorizes requests as Azure does, in front of Azurite."""
