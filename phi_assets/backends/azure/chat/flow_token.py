"""A token of this process's principal, for an endpoint that takes Entra tokens instead of keys.

This file is copied into the chat flow's package, which imports it, without phi_assets, for an `aad_token` connection.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

SCOPE = "https://ml.azure.com/.default"
RENEWED_BEFORE_S = 300.0
SIGN_IN = (
    "the endpoint takes Entra tokens, and this process is not signed in to Azure: run `az login`, or give it a managed"
    " identity, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET of a service principal"
)

_lock = threading.Lock()
_credential: Any = None
_known: Any = None


def token() -> str:
    """Return a token that is valid for at least five minutes, from a cache.

    Raises:
        PermissionError: the process is not signed in, or azure-identity is not installed.
    """
    global _credential, _known
    with _lock:
        if _known is None or _known.expires_on - time.time() < RENEWED_BEFORE_S:
            _credential = _credential or _chain()
            _known = _ask(_credential)
        return _known.token


def _ask(credential: Any) -> Any:
    from azure.core.exceptions import ClientAuthenticationError

    try:
        return credential.get_token(SCOPE)
    except ClientAuthenticationError:
        raise PermissionError(SIGN_IN) from None


def _chain() -> Any:
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as e:
        raise PermissionError("the endpoint takes Entra tokens: pip install azure-identity") from e
    # Without one of these variables the chain would wait a second for an address that exists only inside Azure.
    announced = any(name in os.environ for name in ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_CLIENT_ID"))
    return DefaultAzureCredential(
        exclude_managed_identity_credential=not (announced or os.environ.get("AZURE_TOKEN_CREDENTIALS")),
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_powershell_credential=True,
        exclude_broker_credential=True,
        process_timeout=60,
    )
