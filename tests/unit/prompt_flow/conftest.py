"""Fixtures that run Prompt flow against a scripted endpoint."""

from tests.support.scripted_endpoint import (
    chat_flow_importable,
    connected,
    connected_home,
    endpoint,
    endpoint_server,
    home,
    user_home,
)

__all__ = ["chat_flow_importable", "connected", "connected_home", "endpoint", "endpoint_server", "home", "user_home"]
