"""The chat's Container App through Azure Resource Manager: its sign-in, its ingress and its revisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phi_assets.backends.azure.client import rest
from phi_assets.backends.azure.client.azure_errors import AzureRefused, refused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.rest import Body, properties
from phi_assets.backends.azure.client.retry import PollTimer, with_retries
from phi_assets.ports.base import Log

VERSION = "2025-07-01"
NAME = "chat"
PORT = 8090
MINUTES = 15.0
# Container Apps takes an identity's client id under this name where other apps have a client secret: it is no secret.
# https://learn.microsoft.com/azure/app-service/configure-authentication-provider-aad
IDENTITY_IN_PLACE_OF_SECRET = "override-use-mi-fic-assertion-client-id"


@dataclass(frozen=True)
class SignIn:
    """Who may sign in: people and programs of one tenant whose token is for this app registration."""

    client_id: str
    tenant: str

    def body(self) -> dict[str, Any]:
        """Return the configuration of the built-in sign-in."""
        registration = {
            "clientId": self.client_id,
            "clientSecretSettingName": IDENTITY_IN_PLACE_OF_SECRET,
            "openIdIssuer": f"https://login.microsoftonline.com/{self.tenant}/v2.0",
        }
        return {
            "platform": {"enabled": True},
            "globalValidation": {
                "unauthenticatedClientAction": "RedirectToLoginPage",
                "redirectToProvider": "azureactivedirectory",
            },
            "httpSettings": {"requireHttps": True},
            "identityProviders": {
                "azureActiveDirectory": {
                    "enabled": True,
                    "registration": registration,
                    "validation": {"allowedAudiences": [self.client_id, f"api://{self.client_id}"]},
                }
            },
        }

    def is_on(self, found: Body | None) -> bool:
        """Return whether Azure's configuration is this one. What it adds itself does not count."""
        return found is not None and _contains(properties(found), self.body())


class ContainerApp:
    """One app. A method that changes it waits until Azure has done so, and raises AzureRefused where it does not."""

    def __init__(self, clients: AzureClients, log: Log) -> None:
        self._clients, self._log = clients, log
        self.id = f"{clients.account.group_id}/providers/Microsoft.App/containerApps/{NAME}"

    def read(self) -> Body | None:
        """Return the app; None when it does not exist."""
        return rest.get_or_none(self._clients, self.id, VERSION)

    def sign_in(self) -> Body | None:
        """Return the configuration of the built-in sign-in; None when there is none."""
        return rest.get_or_none(self._clients, f"{self.id}/authConfigs/current", VERSION)

    def put(self, body: Mapping[str, Any]) -> Body:
        """Create or update the app."""
        return self._send("PUT", self.id, body, f"deploying the app {NAME}")

    def put_sign_in(self, wanted: SignIn) -> None:
        """Configure the sign-in, and read it back."""
        self._send("PUT", f"{self.id}/authConfigs/current", {"properties": wanted.body()}, "configuring the sign-in")
        if not wanted.is_on(self.sign_in()):
            raise AzureRefused(
                description="Azure took the chat's sign-in and reports another one; the chat stays closed. Look at the "
                "app's page Authentication in the portal, and run again",
                allow_retries=False,
            )

    def close_ingress(self) -> None:
        """Let nobody reach the app. What it holds stays."""
        found = self.read()
        if found is None or not ingress(found):
            return
        self._send("PATCH", self.id, {"properties": {"configuration": {"ingress": None}}}, "closing the ingress")
        if ingress(self.read() or {}):
            raise AzureRefused(
                description="the chat's ingress could not be closed; disable it now, on the app's "
                "page Ingress in the portal",
                allow_retries=False,
            )

    def await_revision(self, name: str) -> None:
        """Wait until a revision serves. Raises AzureRefused with Azure's reason when it does not."""
        timer = PollTimer(f"starting the revision {name}", self._log, MINUTES, 0.5, 10.0)
        while True:
            found = properties(rest.get_or_none(self._clients, f"{self.id}/revisions/{name}", VERSION) or {})
            state = str(found.get("runningState") or found.get("provisioningState") or "unknown")
            if found.get("healthState") == "Healthy" and found.get("provisioningState") == "Provisioned":
                return
            if "Failed" in (found.get("provisioningState"), state):
                raise AzureRefused(
                    description=f"the chat's revision {name} does not start, and nothing was changed: "
                    f"{found.get('provisioningError') or found.get('runningStateDetails') or state}; its log is on the "
                    "app's page Log stream in the portal",
                    allow_retries=False,
                )
            timer.pause(state, "look at the app's page Revisions in the portal, and run again")

    def deactivate(self, names: Sequence[str]) -> None:
        """Stop revisions."""
        for name in names:
            what = f"stopping the revision {name}"
            address = f"{self.id}/revisions/{name}/deactivate?api-version={VERSION}"
            with_retries(what, lambda address=address: self._clients.send("POST", address), self._log)

    def active_revisions(self) -> list[str]:
        """Return the names of the revisions that are not stopped."""
        found = rest.rows_if_any(self._clients, "the revisions", f"{self.id}/revisions", self._log, VERSION)
        return [str(row["name"]) for row in found if properties(row).get("active")]

    def _send(self, verb: str, id: str, body: Mapping[str, Any], what: str) -> Body:
        from azure.core.exceptions import HttpResponseError

        try:
            with_retries(what, lambda: self._clients.send(verb, f"{id}?api-version={VERSION}", body), self._log)
        except HttpResponseError as e:
            raise refused(what, e) from e
        timer = PollTimer(what, self._log, MINUTES, 0.5, 10.0)
        while True:
            found = rest.get_or_none(self._clients, id, VERSION) or {}
            state = str(properties(found).get("provisioningState") or "Succeeded")
            if state == "Succeeded":
                return found
            if state in ("Failed", "Canceled"):
                raise AzureRefused(description=f"{what}: Azure reports {state}; see the app's page in the portal")
            timer.pause(state)


def ingress(app: Body) -> Mapping[str, Any]:
    """Return the app's ingress; empty when it is closed."""
    return (properties(app).get("configuration") or {}).get("ingress") or {}


def _contains(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_contains(found.get(name), each) for name, each in wanted.items())
    return found == wanted
