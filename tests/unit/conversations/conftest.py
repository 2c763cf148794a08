"""Fixtures that write raw conversations and prepare them."""

from tests.support.conversations import prepared, write_lines

__all__ = ["prepared", "write_lines"]
