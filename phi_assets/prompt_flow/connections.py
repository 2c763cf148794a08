"""Prompt flow connections of one home, kept there by Prompt flow's own client."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi_assets.prompt_flow.child_process import PromptFlowFailed, run_child
from phi_assets.prompt_flow.environment import DATABASE, KEYRING, prompt_flow_environment
from phi_assets.redaction import NO_KEY
from phi_assets.sqlite_cache import Remembered

CONNECTION = "phi_endpoint"
CHILD = "phi_assets.prompt_flow.connect_child"
KEY, TOKEN = "key", "aad_token"


@dataclass(frozen=True)
class StoredConnection:
    """A connection as it is stored now, without its key.

    Attributes:
        name: name in Prompt flow.
        address: base address of the endpoint.
        auth: what the endpoint takes: `key`, or `aad_token` of whoever asks.
        key_fingerprint: changes when the key does, and does not give it away.
    """

    name: str
    address: str
    auth: str
    key_fingerprint: str

    @property
    def digest(self) -> str:
        """SHA-256 over name, address, auth and key fingerprint, in hexadecimal."""
        parts = (self.name, self.address, self.auth, self.key_fingerprint)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def fingerprint(key: str) -> str:
    """Return what tells one key from another and gives neither away (keys are random, 32 bytes or more)."""
    return hashlib.sha256(b"endpoint key\0" + key.encode()).hexdigest()[:16]


def key_to_keep(auth: str, key: str) -> str:
    """Return what a connection keeps as its key: a token belongs to whoever asks, and is never stored."""
    return NO_KEY if auth == TOKEN else key


class LocalConnections:
    """The connections of one home. Two homes share none, and neither touches the user's own in `~/.promptflow`."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def ensure(self, name: str, address: str, key: str, auth: str = KEY) -> str:
        """Store a CustomConnection (configs `address` and `auth`, secret `key`) and return its digest.

        An equal one is left alone. The key is encrypted in Prompt flow's database; the key to that is in a file that
        only this user can read.

        Raises:
            ValueError: no key was given.
            PromptFlowFailed: Prompt flow's client refused.
        """
        kept = key_to_keep(auth, key)
        if not kept:
            raise ValueError(f"connection {name!r} needs the endpoint's key; read it from the endpoint, then try again")
        wanted = StoredConnection(name, address, auth, fingerprint(kept))
        if self._recall(name) != wanted:
            request = {"do": "make", "name": name, "address": address, "auth": auth, "key": kept}
            stored = self._ask(request, secrets=[] if kept == NO_KEY else [kept])
            if stored != wanted:
                raise PromptFlowFailed(f"connection {name!r} was written but reads back as {stored}, not {wanted}")
        return wanted.digest

    def find(self, name: str) -> StoredConnection | None:
        """Return the stored connection, or None when there is none that can be used."""
        if not (self._folder / DATABASE).exists():
            return None
        return self._recall(name) or self._ask({"do": "find", "name": name})

    def _ask(self, request: dict[str, Any], secrets: Sequence[str] = ()) -> StoredConnection | None:
        """What Prompt flow's client says is stored, remembered because it takes a process of its own and seconds."""
        reply = run_child(CHILD, request, prompt_flow_environment(self.home), secrets=secrets)
        found, name = reply["connection"], request["name"]
        if not found:  # not remembered: a database that another process holds can be read a moment later
            return None
        remembered(self._folder, name).put(found, reply["state"])
        return StoredConnection(name, **found)

    def _recall(self, name: str) -> StoredConnection | None:
        found = remembered(self._folder, name).get()
        return StoredConnection(name, **found) if found else None

    @property
    def _folder(self) -> Path:
        return self.home / "prompt_flow"


def remembered(folder: Path, name: str) -> Remembered:
    """Address, auth and fingerprint of the connection, as read from Prompt flow's database with its key."""
    return Remembered(folder / f"{name}.json", (folder / DATABASE, folder / KEYRING))
