"""Prompt flow connections on a laptop: kept in this home by Prompt flow's own client."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from phi_assets.prompt_flow.child_process import run_child
from phi_assets.prompt_flow.environment import prompt_flow_environment

CONNECTION = "phi_endpoint"
CHILD = "phi_assets.prompt_flow.connect_child"


@dataclass(frozen=True)
class StoredConnection:
    """A connection as it is stored now, without its key.

    Attributes:
        name: name in Prompt flow.
        address: base address of the endpoint.
        key_fingerprint: changes when the key does, and does not give it away.
    """

    name: str
    address: str
    key_fingerprint: str

    @property
    def digest(self) -> str:
        """SHA-256 over name, address and key fingerprint, in hexadecimal."""
        return hashlib.sha256("\0".join((self.name, self.address, self.key_fingerprint)).encode()).hexdigest()


class LocalConnections:
    """The connections of one home. Two homes share none, and neither touches the user's own in `~/.promptflow`."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def ensure(self, name: str, address: str, key: str) -> str:
        """Store a CustomConnection (config `address`, secret `key`) and return its digest.

        An equal one is left alone. The key is encrypted in Prompt flow's database; the key to that is in a file that
        only this user can read.

        Raises:
            ValueError: no key was given.
            PromptFlowFailed: Prompt flow's client refused.
        """
        if not key:
            raise ValueError(f"connection {name!r} needs the endpoint's key; read it from the endpoint, then try again")
        request = {"do": "make", "name": name, "address": address, "key": key}
        reply = run_child(CHILD, request, prompt_flow_environment(self.home), secrets=[key])
        return StoredConnection(name, **reply["connection"]).digest

    def find(self, name: str) -> StoredConnection | None:
        """Return the stored connection, or None when there is none that can be used."""
        if not (self.home / "prompt_flow" / "pf.sqlite").exists():
            return None
        reply = run_child(CHILD, {"do": "find", "name": name}, prompt_flow_environment(self.home))
        return StoredConnection(name, **reply["connection"]) if reply["connection"] else None
