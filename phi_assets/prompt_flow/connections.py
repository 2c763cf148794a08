"""Prompt flow connections of one home, kept there by Prompt flow's own client."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from phi_assets.prompt_flow.child_process import run_child
from phi_assets.prompt_flow.environment import DATABASE, KEYRING, prompt_flow_environment

CONNECTION = "phi_endpoint"
CHILD = "phi_assets.prompt_flow.connect_child"
KEY, TOKEN = "key", "aad_token"
# A CustomConnection must have a secret: this stands where there is none, because the caller's identity is asked for.
NO_KEY = "none"


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
        request = {"do": "make", "name": name, "address": address, "auth": auth, "key": kept}
        secrets = [] if kept == NO_KEY else [kept]
        reply = run_child(CHILD, request, prompt_flow_environment(self.home), secrets=secrets)
        return StoredConnection(name, **reply["connection"]).digest

    def find(self, name: str) -> StoredConnection | None:
        """Return the stored connection, or None when there is none that can be used."""
        folder = self.home / "prompt_flow"
        if not (folder / DATABASE).exists():
            return None
        try:
            return _read(self.home, name, tuple(_state_of(folder / file) for file in (DATABASE, KEYRING)))
        except LookupError:
            return None


@lru_cache(maxsize=16)
def _read(home: Path, name: str, _state: tuple[Any, ...]) -> StoredConnection:
    """What Prompt flow reads while its files are in this state: asking takes a process, and a run asks often.

    Raises LookupError, which is not remembered: a database that another process holds can be read a moment later.
    """
    reply = run_child(CHILD, {"do": "find", "name": name}, prompt_flow_environment(home))
    if not reply["connection"]:
        raise LookupError(name)
    return StoredConnection(name, **reply["connection"])


def _state_of(file: Path) -> tuple[int, ...] | None:
    """What changes whenever the file does; None when there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
