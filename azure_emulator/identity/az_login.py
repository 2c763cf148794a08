"""The login of the stub `az`, stored in the state folder."""

from __future__ import annotations

import json
import shlex
import stat
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from azure_emulator.identity.identities import SUBSCRIPTION, TENANT, USER


@dataclass(frozen=True)
class Login:
    """A stored `az` login. `expired`: the refresh token is no longer accepted."""

    state: Literal["signed_in", "signed_out", "expired"] = "signed_in"
    oid: str = USER
    user: str = "person@example.org"
    tenant: str = TENANT
    subscription: str = SUBSCRIPTION
    token_seconds: float = 3600


def install(folder: Path, python: Path | None = None) -> Path:
    """Write an executable `az` to `<folder>/bin`, signed in as USER. Return the folder to put first on PATH."""
    programs = folder / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    stub = Path(__file__).with_name("az_stub.py")
    words = [str(python or sys.executable), "-I", str(stub), str(folder.resolve())]
    command = programs / "az"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    if not _file(folder).exists():
        save(folder, Login())
    return programs


def save(folder: Path, login: Login) -> None:
    new = _file(folder).with_suffix(".new")
    new.write_text(json.dumps(asdict(login)))
    new.replace(_file(folder))


def load(folder: Path) -> Login:
    return Login(**json.loads(_file(folder).read_text()))


def _file(folder: Path) -> Path:
    return folder / "az-login.json"
