"""Access tokens, signed with a secret that all processes of one local Azure share through its state folder."""

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import jwt

from azure_emulator.identity.identities import AZURE_CLI_APP, TENANT

# Names of one service; the first is the token's audience.
_SAME_AUDIENCE = (
    ("https://management.azure.com", "https://management.core.windows.net"),
    ("https://storage.azure.com",),
    ("https://ml.azure.com",),
    ("https://vault.azure.net",),
)


class InvalidToken(ValueError):
    """A token that is malformed, expired, signed with another key, or meant for another service."""


@dataclass(frozen=True)
class Claims:
    oid: str
    audience: str
    expiry: float
    app_id: str | None


class Tokens:
    """Issues and reads access tokens. Two objects on one folder accept each other's tokens."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._secret = _shared_secret(folder / "token-secret")

    def issue(self, oid: str, audience: str, app_id: str | None = None, seconds: float = 3600) -> str:
        """Return a bearer token of the object id for a service (`<resource>` or `<resource>/.default`)."""
        now = int(time.time())
        claims = {
            "aud": canonical(audience),
            "iss": f"https://sts.windows.net/{TENANT}/",
            "tid": TENANT,
            "oid": oid.lower(),
            "appid": app_id or AZURE_CLI_APP,
            "idtyp": "app" if app_id else "user",
            "iat": now,
            "nbf": now - 5,
            "exp": int(now + seconds),
        }
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def read(self, token: str, audience: str) -> Claims:
        """Return the token's claims. Raises InvalidToken."""
        try:
            claims = jwt.decode(token, self._secret, algorithms=["HS256"], audience=canonical(audience))
        except jwt.InvalidTokenError as e:
            raise InvalidToken(str(e)) from e
        return Claims(claims["oid"], claims["aud"], float(claims["exp"]), claims.get("appid"))


def canonical(audience: str) -> str:
    """Return one name for a service, given as scope or resource, with or without a trailing slash."""
    plain = audience.removesuffix("/.default").rstrip("/").lower()
    if plain.endswith(".blob.core.windows.net"):
        return "https://storage.azure.com"
    return next((names[0] for names in _SAME_AUDIENCE if plain in names), plain)


def _shared_secret(path: Path) -> str:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return path.read_text()
