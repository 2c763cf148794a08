"""Prompt flow connections of one home, stored there by Prompt flow's own client."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi_assets.prompt_flow.child_process import PromptFlowFailed, run_child
from phi_assets.prompt_flow.environment import DATABASE, KEYRING, prompt_flow_environment
from phi_assets.redaction import NO_KEY
from phi_assets.sqlite_cache import SqliteCache

CONNECTION = "phi_endpoint"
CHILD = "phi_assets.prompt_flow.connect_child"
KEY, TOKEN = "key", "aad_token"


@dataclass(frozen=True)
class StoredConnection:
    """A connection as it is stored now, without its key.

    Attributes:
        name: name in Prompt flow.
        address: base address of the endpoint.
        auth: what the endpoint accepts: `key`, or `aad_token` of the caller.
        key_fingerprint: changes with the key, and does not reveal it.
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
    """Return a fingerprint that distinguishes keys and does not reveal them (keys are random, 32 bytes or more)."""
    return hashlib.sha256(b"endpoint key\0" + key.encode()).hexdigest()[:16]


def key_to_keep(auth: str, key: str) -> str:
    """Return the key that a connection stores: a token belongs to the caller, and is never stored."""
    return NO_KEY if auth == TOKEN else key


class LocalConnections:
    """The connections of one home, separate from those of other homes and of the user in `~/.promptflow`."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def ensure(
        self, name: str, address: str, key: str, auth: str = KEY, log: Callable[[str], None] | None = None
    ) -> str:
        """Store a CustomConnection (configs `address` and `auth`, secret `key`) and return its digest.

        An equal connection is not written again. The key is encrypted in Prompt flow's database; the encryption key is
        in a file that only this user can read.

        Raises:
            ValueError: no key was given.
            PromptFlowFailed: Prompt flow's client refused.
        """
        stored_key = key_to_keep(auth, key)
        if not stored_key:
            raise ValueError(f"connection {name!r} needs the endpoint's key; read it from the endpoint, then try again")
        wanted = StoredConnection(name, address, auth, fingerprint(stored_key))
        if self._cached(name) != wanted:
            request = {"do": "make", "name": name, "address": address, "auth": auth, "key": stored_key}
            stored = self._run(request, secrets=[] if stored_key == NO_KEY else [stored_key], log=log)
            if stored != wanted:
                raise PromptFlowFailed(f"connection {name!r} was written but reads back as {stored}, not {wanted}")
        return wanted.digest

    def find(self, name: str) -> StoredConnection | None:
        """Return the stored connection, or None when there is none or it is not usable."""
        if not (self._folder / DATABASE).exists():
            return None
        return self._cached(name) or self._run({"do": "find", "name": name})

    def _run(
        self, request: dict[str, Any], secrets: Sequence[str] = (), log: Callable[[str], None] | None = None
    ) -> StoredConnection | None:
        """Return the connection from Prompt flow's client, and cache it: the child process takes seconds."""
        reply = run_child(CHILD, request, prompt_flow_environment(self.home, log), secrets=secrets)
        found, name = reply["connection"], request["name"]
        if not found:  # not cached: a database that another process has locked may be readable soon
            return None
        connection_cache(self._folder, name).put(found, reply["state"])
        return StoredConnection(name, **found)

    def _cached(self, name: str) -> StoredConnection | None:
        cached = connection_cache(self._folder, name).get()
        return StoredConnection(name, **cached) if cached else None

    @property
    def _folder(self) -> Path:
        return self.home / "prompt_flow"


def connection_cache(folder: Path, name: str) -> SqliteCache:
    """Return the cache of a connection; a change of Prompt flow's database or keyring invalidates it."""
    return SqliteCache(folder / f"{name}.json", (folder / DATABASE, folder / KEYRING))
