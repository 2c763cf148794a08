"""Test helpers: clients, and parts of the emulator that run alone."""
