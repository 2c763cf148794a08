"""Entra ID: discovery documents, and tokens for service principals with a client secret."""

from __future__ import annotations

from azure_emulator.identity.identities import TENANT
from azure_emulator.messages import Answer, Call
from azure_emulator.state import EmulatorState

_ALIASES = ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"]


def handle(emulator: EmulatorState, call: Call) -> Answer:
    """Answer requests for discovery documents and tokens."""
    if call.path == "/common/discovery/instance":
        cloud = {"preferred_network": _ALIASES[0], "preferred_cache": "login.windows.net", "aliases": _ALIASES}
        address = f"https://{_ALIASES[0]}/common/.well-known/openid-configuration"
        return Answer({"tenant_discovery_endpoint": address, "api-version": "1.1", "metadata": [cloud]})
    if call.path.endswith("/.well-known/openid-configuration"):
        base = f"https://login.microsoftonline.com/{call.path.split('/')[1]}"
        return Answer(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            }
        )
    if call.path.endswith("/oauth2/v2.0/token"):
        return _token(emulator, call)
    return Answer({"error": "not_found", "error_description": call.path}, 404)


def _token(emulator: EmulatorState, call: Call) -> Answer:
    form = call.body or {}
    client = emulator.directory.by_client_id(str(form.get("client_id", "")))
    if call.path.split("/")[1] not in (TENANT, "common", "organizations"):
        return _refuse(400, "invalid_request", f"AADSTS90002: Tenant '{call.path.split('/')[1]}' not found.")
    if client is None:
        return _refuse(400, "unauthorized_client", "AADSTS700016: Application was not found in the directory.")
    if form.get("client_secret") != emulator.secrets.get(client.oid):
        return _refuse(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
    audience = str(form.get("scope", "")).split()[0]
    token = emulator.tokens.issue(client.oid, audience, client.client_id)
    return Answer({"token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": token})


def _refuse(status: int, error: str, description: str) -> Answer:
    return Answer({"error": error, "error_description": description, "error_codes": []}, status)
