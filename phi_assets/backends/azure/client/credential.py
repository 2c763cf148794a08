"""Who asks: one cached token an audience, from whatever the person is signed in with."""

import base64
import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakSet

from phi_assets.backends.azure.client.azure_errors import NotSignedIn

ARM_SCOPE = "https://management.azure.com/.default"
RENEWED_BEFORE = 300.0  # seconds before its end a token is replaced: longer than any call takes
STILL_GOOD = 10.0  # seconds: a token that lasts as long is used when no new one can be had
ASKED_AGAIN_AFTER = 30.0  # seconds after a renewal that failed

# What a chain of credentials says when somebody must sign in. All else, a lost connection or an `az` that does not
# answer, passes.
NOT_SIGNED_IN = ("az login", "AADSTS", "Azure CLI not found", "'az' is not recognized", "Failed to execute")
OF_ENTRA_S_OWN = ("AADSTS90033", "AADSTS90024", "AADSTS90055", "transient")  # that pass, although they have a code

_credentials: "WeakSet[Credential]" = WeakSet()


@dataclass(frozen=True)
class Principal:
    """Whose name Azure acts in."""

    object_id: str
    kind: Literal["User", "ServicePrincipal"]
    tenant_id: str


class Credential:
    """azure-identity's default chain behind a cache that every client shares: `az` is a process of its own each time.

    Tried in turn: a service principal or a workload identity named in the environment, a managed identity where one is
    announced there, `az login`, `azd auth login`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, ...], Any] = {}
        self._failed_at = float("-inf")
        self._chain: Any = None
        _credentials.add(self)

    def get_token_info(self, *scopes: str, options: Mapping[str, Any] | None = None) -> Any:
        """A token of these scopes that lasts a while; one that lasts less while no other can be had.

        Raises NotSignedIn with what to do, or ServiceRequestError when asking again may help.
        """
        with self._lock:
            known = self._tokens.get(scopes)
            if known is None or (options or {}).get("claims") or _left(known) < STILL_GOOD:
                known = self._tokens[scopes] = self._ask(scopes, options)
            elif _left(known) < RENEWED_BEFORE:
                known = self._tokens[scopes] = self._renewed(known, scopes, options)
            return known

    def get_token(self, *scopes: str, **options: Any) -> Any:
        from azure.core.credentials import AccessToken

        wanted = {name: options[name] for name in ("claims", "tenant_id", "enable_cae") if options.get(name)}
        info = self.get_token_info(*scopes, options=wanted)
        return AccessToken(info.token, info.expires_on)

    def forget(self) -> None:
        with self._lock:
            self._tokens.clear()

    def source(self) -> str:
        """What the last token came from, such as AzureCliCredential; empty before there was one."""
        found = getattr(self._chain, "_successful_credential", None)
        return type(found).__name__ if found is not None else ""

    def _renewed(self, known: Any, scopes: tuple[str, ...], options: Mapping[str, Any] | None) -> Any:
        from azure.core.exceptions import ServiceRequestError

        if time.monotonic() - self._failed_at < ASKED_AGAIN_AFTER:
            return known
        try:
            return self._ask(scopes, options)
        except (NotSignedIn, ServiceRequestError):
            self._failed_at = time.monotonic()
            return known

    def _ask(self, scopes: tuple[str, ...], options: Mapping[str, Any] | None) -> Any:
        from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

        try:
            if self._chain is None:
                self._chain = _default_chain()
            return self._chain.get_token_info(*scopes, options=dict(options or {}))
        except ClientAuthenticationError as e:
            if not _must_sign_in(str(e)):
                raise ServiceRequestError(f"no token for Azure: {' '.join(str(e).split())}") from e
            found, remedy = _sign_in(str(e))
        except ValueError as e:  # a variable of azure-identity's has a value that it does not know
            found = f"azure-identity refuses this environment: {' '.join(str(e).split())}"
            remedy = "unset that variable, or set it right, and run again"
        raise NotSignedIn(description=f"{found}: {remedy}", allow_retries=False, remedy=remedy) from None


def forget() -> None:
    """Every credential asks for new tokens: Azure said that one had expired."""
    for credential in list(_credentials):
        credential.forget()


def principal(credential: Credential) -> Principal:
    """Who the token's claims say is asking. Read, not verified: Azure verifies it."""
    payload = credential.get_token_info(ARM_SCOPE).token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    kind = "ServicePrincipal" if claims.get("idtyp") == "app" else "User"
    return Principal(object_id=claims["oid"], kind=kind, tenant_id=claims.get("tid", ""))


def _default_chain() -> Any:
    from azure.identity import DefaultAzureCredential

    # It logs at length what it tried; NotSignedIn says what to do.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    # Without one of these the chain would wait a second for an address that exists inside Azure only.
    announced = any(name in os.environ for name in ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_CLIENT_ID"))
    return DefaultAzureCredential(
        exclude_managed_identity_credential=not (announced or os.environ.get("AZURE_TOKEN_CREDENTIALS")),
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_powershell_credential=True,
        exclude_interactive_browser_credential=True,
        exclude_broker_credential=True,
        process_timeout=60,
    )


def _left(token: Any) -> float:
    """Seconds that a token still lasts."""
    return token.expires_on - time.time()


def _must_sign_in(message: str) -> bool:
    """Whether a person must sign in, or name another identity, before there is a token."""
    if any(part in message for part in OF_ENTRA_S_OWN):
        return False
    nobody = "not fully configured" in message and "AzureCliCredential" not in message  # of a chain of one
    return nobody or any(part in message for part in NOT_SIGNED_IN)


def _sign_in(message: str) -> tuple[str, str]:
    """What is wrong, and the remedy."""
    expired = "AADSTS70043" in message or "AADSTS700082" in message or "expired" in message.lower()
    if expired:
        return "your sign-in to Azure has expired", "run `az login`, and run again"
    if "'az' is not recognized" in message or "Azure CLI not found" in message:
        found = "not signed in to Azure, and the Azure CLI is not on the PATH"
        return found, "install it, `az login`, and run again"
    remedy = "run `az login` (az login --use-device-code without a browser), and run again"
    return "not signed in to Azure", remedy
