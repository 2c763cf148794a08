"""Proves from outside that nobody gets in by naming a principal: its header is not signed, only removed by Azure."""

import base64
import json
import time
import uuid

PATHS = ("/", "/api/me", "/v1/models")
REFUSALS = frozenset({302, 401})
TRIES, PAUSE_SECONDS, TIMEOUT_SECONDS = 4, 2.0, 60.0
_CLAIMS = "http://schemas.microsoft.com/identity/claims/"


def let_in(address: str, tenant: str, tries: int = TRIES) -> str:
    """Return what a forged principal got, or "" when every path answered 302 or 401.

    A replica may start first: other answers than 200 are asked for again.
    """
    import httpx

    headers = {"x-ms-client-principal": principal(str(uuid.uuid4()), tenant), "x-ms-client-principal-idp": "aad"}
    wrong = ""
    with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client:
        for attempt in range(tries):
            try:
                statuses = {path: client.get(address + path, headers=headers).status_code for path in PATHS}
            except httpx.HTTPError as e:
                wrong = f"no answer ({type(e).__name__})"
            else:
                wrong = ", ".join(f"{path} {status}" for path, status in statuses.items() if status not in REFUSALS)
                if not wrong or 200 in statuses.values():
                    return wrong
            if attempt + 1 < tries:
                time.sleep(PAUSE_SECONDS)
    return wrong


def principal(oid: str, tenant: str) -> str:
    """Return a principal's header, as anyone can write it."""
    claims = [
        {"typ": f"{_CLAIMS}tenantid", "val": tenant},
        {"typ": f"{_CLAIMS}objectidentifier", "val": oid},
        {"typ": "name", "val": "nobody"},
    ]
    written = {"auth_typ": "aad", "claims": claims, "name_typ": "name", "role_typ": "roles"}
    return base64.b64encode(json.dumps(written).encode()).decode()
