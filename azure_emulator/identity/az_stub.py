"""The stub `az`: the commands that azure-identity and the documentation use, with the output of the real `az`.

`az_login.install` writes the executable that calls it: `python -I az_stub.py STATE_FOLDER account show`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from azure_emulator.identity import az_login
from azure_emulator.identity.az_login import Login
from azure_emulator.identity.tokens import Tokens

VERSION = "2.76.0"
SIGNED_OUT = "ERROR: Please run 'az login' to setup account."
EXPIRED = (
    "ERROR: AADSTS70043: The refresh token has expired or is invalid due to sign-in frequency checks by conditional "
    "access. The token was issued on 2026-01-01T00:00:00Z and the maximum allowed lifetime for this request is 43200.\n"
    "Interactive authentication is needed. Please run:\naz login"
)


class Refused(Exception):
    """An error that `az` writes to standard error before it exits with 1."""


def main(folder: Path, words: list[str]) -> int:
    """Run a command. Return 0, 1 if the command fails, or 2 if the stub does not have it."""
    command, options = _parse(words)
    commands = {
        "version": lambda: {"azure-cli": VERSION, "azure-cli-core": VERSION, "extensions": {}},
        "login": lambda: _sign(folder, "signed_in"),
        "logout": lambda: _sign(folder, "signed_out"),
        "account show": lambda: _account(_signed_in(folder)),
        "account list": lambda: [_account(_signed_in(folder))],
        "account set": lambda: _known_subscription(_signed_in(folder), options) and None,
        "account get-access-token": lambda: _token(folder, _signed_in(folder), options),
        "ad signed-in-user show": lambda: _person(_signed_in(folder)),
    }
    if command not in commands:
        print(
            f"ERROR: '{command}' is not a command of the local Azure's az; it has {sorted(commands)}", file=sys.stderr
        )
        return 2
    try:
        answer = commands[command]()
    except Refused as e:
        print(e, file=sys.stderr)
        return 1
    _show(answer, options)
    return 0


def _parse(words: list[str]) -> tuple[str, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="az", add_help=False, allow_abbrev=False)
    for name in ("--output", "--resource", "--scope", "--tenant", "--subscription", "--query"):
        parser.add_argument(name, *({"--output": ["-o"], "--subscription": ["-s", "--name", "-n"]}.get(name, [])))
    options, rest = parser.parse_known_args(words)
    return " ".join(word for word in rest if not word.startswith("-")), options


def _signed_in(folder: Path) -> Login:
    login = az_login.load(folder)
    if login.state == "signed_out":
        raise Refused(SIGNED_OUT)
    return login


def _sign(folder: Path, state: Any) -> Any:
    login = replace(az_login.load(folder), state=state)
    az_login.save(folder, login)
    return [_account(login)] if state == "signed_in" else None


def _token(folder: Path, login: Login, options: argparse.Namespace) -> dict[str, Any]:
    if options.tenant and options.tenant != login.tenant:
        raise Refused(f"ERROR: AADSTS90002: Tenant '{options.tenant}' not found. Check to make sure you have it right.")
    _known_subscription(login, options)
    if login.state == "expired":
        raise Refused(EXPIRED)
    expires = time.time() + login.token_seconds
    audience = options.scope or options.resource or "https://management.core.windows.net/"
    return {
        "accessToken": Tokens(folder).issue(login.oid, audience, seconds=login.token_seconds),
        "expiresOn": datetime.datetime.fromtimestamp(expires).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "expires_on": int(expires),
        "subscription": login.subscription,
        "tenant": login.tenant,
        "tokenType": "Bearer",
    }


def _known_subscription(login: Login, options: argparse.Namespace) -> bool:
    if options.subscription and options.subscription != login.subscription:
        raise Refused(f"ERROR: Subscription '{options.subscription}' not found. Check the spelling and casing.")
    return True


def _account(login: Login) -> dict[str, Any]:
    return {
        "environmentName": "AzureCloud",
        "homeTenantId": login.tenant,
        "id": login.subscription,
        "isDefault": True,
        "managedByTenants": [],
        "name": "Local Azure",
        "state": "Enabled",
        "tenantId": login.tenant,
        "user": {"name": login.user, "type": "user"},
    }


def _person(login: Login) -> dict[str, Any]:
    return {"id": login.oid, "displayName": "A Person", "userPrincipalName": login.user}


def _show(answer: Any, options: argparse.Namespace) -> None:
    """Print the result as JSON, or one plain value for `--query name -o tsv`."""
    for name in (options.query or "").split("."):
        answer = answer[name] if name else answer
    if answer is not None:
        print(answer if options.output == "tsv" and isinstance(answer, str) else json.dumps(answer, indent=2))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
