"""Authentication of scoring requests: a key of the endpoint, or an Entra token of a principal with the role."""

from __future__ import annotations

import hmac

from azure_emulator.identity.tokens import InvalidToken
from azure_emulator.scoring.live_endpoints import LiveEndpoint
from azure_emulator.state import EmulatorState

AUDIENCE = "https://ml.azure.com"
SCORE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"


class Refused(Exception):
    """An error response of the gateway itself."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


def caller_of(emulator: EmulatorState, endpoint: LiveEndpoint, authorization: str, expired: bool = False) -> str:
    """Return the caller's object id, or "key". Raises Refused (401)."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer" or not given or expired:
        raise Refused(401, "key_auth_access_denied" if endpoint.auth_mode == "Key" else "token_auth_access_denied")
    if endpoint.auth_mode == "Key":
        if not any(hmac.compare_digest(given.encode(), key.encode()) for key in endpoint.keys.values()):
            raise Refused(401, "key_auth_access_denied")
        return "key"
    try:
        oid = emulator.tokens.read(given, AUDIENCE).oid
    except InvalidToken as e:
        raise Refused(401, f"token_auth_access_denied: {e}") from e
    # The table of status codes: 401 also for "You don't have permission to do the requested action, such as score".
    if not emulator.authorization.allows(oid, SCORE, endpoint.id):
        raise Refused(401, f"token_auth_access_denied: {oid} may not {SCORE}")
    return oid
