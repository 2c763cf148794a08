"""Child process: create or read a connection with Prompt flow's own client."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from phi_assets.prompt_flow.child_process import answer_request
from phi_assets.prompt_flow.connections import KEY, connection_cache, fingerprint
from phi_assets.prompt_flow.environment import DATABASE


def make(name: str, address: str, auth: str, key: str) -> None:
    """Create the connection `name`, or update it when it differs.

    Raises:
        RuntimeError: the database is damaged.
    """
    from promptflow.client import PFClient
    from promptflow.entities import CustomConnection
    from sqlalchemy.exc import DatabaseError

    wanted = {"address": address, "auth": auth, "key_fingerprint": fingerprint(key)}
    if read(name) != wanted:
        connection = CustomConnection(name=name, configs={"address": address, "auth": auth}, secrets={"key": key})
        try:
            # The annotation names the class, but the method takes an instance.
            PFClient().connections.create_or_update(connection)  # pyright: ignore[reportArgumentType]
        except DatabaseError as e:
            file = Path(os.environ["PF_HOME_DIRECTORY"], DATABASE)
            raise RuntimeError(f"Prompt flow cannot use its database {file} ({e.orig}); delete it and try again") from e


def read(name: str) -> dict[str, Any] | None:
    """Return address, auth and the key's fingerprint, or None when there is no such connection or it is not readable.

    A connection of another kind, or one whose encryption key was lost, counts as missing: creating it again repairs it.
    """
    from promptflow.client import PFClient

    try:
        connection = PFClient().connections.get(name, raise_error=False, with_secrets=True)
    except Exception as e:  # Prompt flow raises a bare Exception for a secret that it cannot decrypt
        print(f"connection {name!r} cannot be read: {e}", file=sys.stderr)
        return None
    configs, secrets = getattr(connection, "configs", None), getattr(connection, "secrets", None)
    if not configs or not secrets or "address" not in configs or "key" not in secrets:
        return None
    auth = configs.get("auth", KEY)
    return {"address": configs["address"], "auth": auth, "key_fingerprint": fingerprint(secrets["key"])}


def _handle(request: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "make":
        make(request["name"], request["address"], request["auth"], request["key"])
    state = connection_cache(Path(os.environ["PF_HOME_DIRECTORY"]), request["name"]).state()
    return {"connection": read(request["name"]), "state": state}


if __name__ == "__main__":
    answer_request(_handle)
