"""Facts about definitions for which Dagster has no field, as metadata of the asset, check, job, sensor or schedule.

An asset's facts are the resource (port) that stores it, and the settings that decide its result. An asset without them,
such as one that a user adds, is judged by Dagster's own staleness.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from phi_assets.settings import Settings, current

PORT = "phi/port"
SETTINGS = "phi/settings"
FILES = "phi/files"
BACKEND = "phi/backend"
PROMPT_FLOW = "phi/prompt_flow"
AGENT = "phi/agent"
QUANTIZED = "phi/quantized"
CHAT = "phi/chat"
LIVE = "phi/live"
"""Tag of an asset whose subject changes outside the graph: it is made again before any asset directly downstream."""

ML = ["team:ml"]
PLATFORM = ["team:platform"]
ONLY_ON_AZURE = {BACKEND: "azure"}
"""Metadata of an asset, check, job, sensor or schedule that the laptop's backend lacks."""
ONLY_ON_LAPTOP = {BACKEND: "local"}
"""Metadata of one that Azure's backend lacks."""
NEEDS_CHAT = {CHAT: True}
"""Metadata of one that is left out on Azure without PHI_AZURE_CHAT_CLIENT_ID."""
NEEDS_PROMPT_FLOW = {PROMPT_FLOW: True}
"""Metadata of one that PHI_PROMPT_FLOW=off leaves out; checks of such an asset are left out with it."""
NEEDS_AGENT = {AGENT: True}
"""Metadata of one that is left out where the extra `agent` is not installed."""
NEEDS_QUANTIZED = {QUANTIZED: True}
"""Metadata of one that PHI_QUANTIZE=off leaves out."""


def stored_by(port: str, *settings: str, files: Sequence[str] = ()) -> dict[str, Any]:
    """Return an asset's metadata: the resource that stores it, and the settings that decide it on every backend.

    `files` are files that its code reads, relative to the project.

    Settings of one backend only, source modules and programs are declared by the resource (`Port.decides`).
    """
    return {PORT: port, **decided_by(*settings), **({FILES: list(files)} if files else {})}


def decided_by(*settings: str) -> dict[str, Any]:
    """Return the metadata of a source asset that no resource stores: the settings that decide it."""
    return {SETTINGS: list(settings)}


def on_azure(*assets: str) -> tuple[str, ...]:
    """Return the names with the Azure backend, and none with another: for upstream assets that only Azure needs."""
    return assets if current().backend == "azure" else ()


def with_chat(*assets: str) -> tuple[str, ...]:
    """Return the names where the graph has the chat, and none elsewhere."""
    return assets if current().has_chat else ()


def if_quantized(*assets: str) -> tuple[str, ...]:
    """Return the names where PHI_QUANTIZE is on, and none with off."""
    return assets if current().quantize != "off" else ()


def is_here(metadata: Mapping[str, Any], settings: Settings) -> bool:
    """Return whether a definition with this metadata exists with these settings and with what is installed."""
    if plain(metadata.get(CHAT, False)) and not settings.has_chat:
        return False
    if plain(metadata.get(AGENT, False)) and find_spec("agent_framework_openai") is None:
        return False
    if plain(metadata.get(PROMPT_FLOW, False)) and settings.prompt_flow == "off":
        return False
    if plain(metadata.get(QUANTIZED, False)) and settings.quantize == "off":
        return False
    return plain(metadata.get(BACKEND, settings.backend)) == settings.backend


def plain(value: Any) -> Any:
    """Return the plain value of a metadata entry, which Dagster may have wrapped."""
    return getattr(value, "value", value)
