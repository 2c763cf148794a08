"""Storage accounts as the gate sees them, with their keys and the secret of their delegation keys."""

from __future__ import annotations

import base64
import json
import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StorageAccount:
    """A storage account that exists."""

    scope: str  # its full resource id
    shared_keys: bool  # allowSharedKeyAccess


FindAccount = Callable[[str], StorageAccount | None]


class AccountKeys:
    """Two keys per account, in a file that only its owner can read."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "storage-keys.json"
        self._lock = threading.Lock()
        kept = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._keys: dict[str, list[str]] = kept.get("keys", {})
        self.secret = base64.b64decode(kept["secret"]) if kept else secrets.token_bytes(32)
        if not kept:
            self._write()

    def of(self, account: str) -> tuple[str, str]:
        """Return `key1` and `key2`."""
        with self._lock:
            if account not in self._keys:
                self._keys[account] = [_new_key(), _new_key()]
                self._write()
            first, second = self._keys[account]
            return first, second

    def put(self, account: str, number: int, key: str | None = None) -> str:
        """Set `key1` or `key2` to the given value (for instance a canary) or to a random one, and return it."""
        new = key or _new_key()
        self.of(account)
        with self._lock:
            self._keys[account][number - 1] = new
            self._write()
        return new

    def forget(self, account: str) -> None:
        with self._lock:
            if self._keys.pop(account, None):
                self._write()

    def _write(self) -> None:
        text = json.dumps({"secret": base64.b64encode(self.secret).decode(), "keys": self._keys})
        new = self._path.with_suffix(".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        new.replace(self._path)


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()
