"""The credential that all clients share: one cached token per scope, from any sign-in that azure-identity finds."""

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
RENEW_BEFORE_EXPIRY_SECONDS = 300.0  # a token is replaced this long before it expires: longer than any call takes
MINIMUM_SECONDS_LEFT = 10.0  # a token that is valid for this long is still used when no new one is available
RENEWAL_RETRY_SECONDS = 30.0  # pause after a renewal that failed

# Parts of the credential chain's messages that mean that the user must sign in. Every other failure, such as a lost
# connection or an `az` that does not answer, is transient.
SIGN_IN_MESSAGES = ("az login", "AADSTS", "Azure CLI not found", "'az' is not recognized", "Failed to execute")
TRANSIENT_MESSAGES = ("AADSTS90033", "AADSTS90024", "AADSTS90055", "transient")  # of Entra; transient despite a code

_credentials: "WeakSet[Credential]" = WeakSet()


@dataclass(frozen=True)
class Principal:
    """The identity whose token the requests carry."""

    object_id: str
    kind: Literal["User", "ServicePrincipal"]
    tenant_id: str


class Credential:
    """azure-identity's default chain behind a cache that every client shares, because `az` starts a process per token.

    Tried in order: a service principal or a workload identity from the environment, a managed identity if the
    environment announces one, `az login`, `azd auth login`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, ...], Any] = {}
        self._failed_at = float("-inf")
        self._chain: Any = None
        _credentials.add(self)

    def get_token_info(self, *scopes: str, options: Mapping[str, Any] | None = None) -> Any:
        """A token for these scopes, renewed before it expires; the old one as long as it is valid and renewal fails.

        Raises NotSignedIn with the remedy, or ServiceRequestError when a retry may help.
        """
        with self._lock:
            known = self._tokens.get(scopes)
            if known is None or (options or {}).get("claims") or _seconds_left(known) < MINIMUM_SECONDS_LEFT:
                known = self._tokens[scopes] = self._request(scopes, options)
            elif _seconds_left(known) < RENEW_BEFORE_EXPIRY_SECONDS:
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
        """The credential that issued the last token, such as AzureCliCredential; empty before the first token."""
        found = getattr(self._chain, "_successful_credential", None)
        return type(found).__name__ if found is not None else ""

    def _renewed(self, known: Any, scopes: tuple[str, ...], options: Mapping[str, Any] | None) -> Any:
        from azure.core.exceptions import ServiceRequestError

        if time.monotonic() - self._failed_at < RENEWAL_RETRY_SECONDS:
            return known
        try:
            return self._request(scopes, options)
        except (NotSignedIn, ServiceRequestError):
            self._failed_at = time.monotonic()
            return known

    def _request(self, scopes: tuple[str, ...], options: Mapping[str, Any] | None) -> Any:
        from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

        try:
            if self._chain is None:
                self._chain = _default_chain()
            return self._chain.get_token_info(*scopes, options=dict(options or {}))
        except ClientAuthenticationError as e:
            if not _must_sign_in(str(e)):
                raise ServiceRequestError(f"no token for Azure: {' '.join(str(e).split())}") from e
            found, remedy = _sign_in(str(e))
        except ValueError as e:  # an environment variable of azure-identity has a value that it does not accept
            found = f"azure-identity rejects an environment variable: {' '.join(str(e).split())}"
            remedy = "unset or correct that variable, and run again"
        raise NotSignedIn(description=f"{found}: {remedy}", allow_retries=False, remedy=remedy) from None


def forget() -> None:
    """Clear the token cache of every credential, after Azure reported an expired token."""
    for credential in list(_credentials):
        credential.forget()


def principal(credential: Credential) -> Principal:
    """The principal that the token's claims name. They are decoded, not verified: Azure verifies them."""
    payload = credential.get_token_info(ARM_SCOPE).token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    kind = "ServicePrincipal" if claims.get("idtyp") == "app" else "User"
    return Principal(object_id=claims["oid"], kind=kind, tenant_id=claims.get("tid", ""))


def _default_chain() -> Any:
    from azure.identity import DefaultAzureCredential

    # It logs every credential that it tried; NotSignedIn carries the remedy.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    # Without one of these variables the chain would wait a second for an address that exists only inside Azure.
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


def _seconds_left(token: Any) -> float:
    """Seconds until the token expires."""
    return token.expires_on - time.time()


def _must_sign_in(message: str) -> bool:
    """Whether the user must sign in, or configure another identity, to get a token."""
    if any(part in message for part in TRANSIENT_MESSAGES):
        return False
    # The message of a chain that consists of one credential only.
    unconfigured = "not fully configured" in message and "AzureCliCredential" not in message
    return unconfigured or any(part in message for part in SIGN_IN_MESSAGES)


def _sign_in(message: str) -> tuple[str, str]:
    """The cause and the remedy."""
    expired = "AADSTS70043" in message or "AADSTS700082" in message or "expired" in message.lower()
    if expired:
        return "your sign-in to Azure has expired", "run `az login`, and run again"
    if "'az' is not recognized" in message or "Azure CLI not found" in message:
        found = "not signed in to Azure, and the Azure CLI is not on the PATH"
        return found, "install it, `az login`, and run again"
    remedy = "run `az login` (az login --use-device-code without a browser), and run again"
    return "not signed in to Azure", remedy
