"""Prompt flow's connection in the workspace, where Studio and flows that run on Azure find it.

Written as plain JSON: azure-ai-ml has no entity for custom keys. Two metadata entries make Prompt flow take it for a
CustomConnection (promptflow/core/_connection_provider); its other metadata are the connection's configs. Its authType
is CustomKeys also where there is no key: Prompt flow cannot read a custom connection of authType AAD.
"""

from dataclasses import dataclass
from typing import Any

from phi_assets.backends.azure.client.azure_errors import AzureRefused, refused, status_of
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import say, with_patience
from phi_assets.backends.azure.client.role_delay import wait_for_role
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log
from phi_assets.prompt_flow.connections import KEY, StoredConnection, fingerprint
from phi_assets.redaction import without

API_VERSION = "2025-12-01"
CUSTOM = "CustomKeys"
FOR_PROMPT_FLOW = {"azureml.flow.connection_type": "Custom", "azureml.flow.module": "promptflow.connections"}


@dataclass(frozen=True)
class WorkspaceConnection:
    """One connection of the deployed workspace, by its name."""

    clients: AzureClients
    name: str

    def read(self, log: Log = say) -> StoredConnection | None:
        """What the workspace keeps now; None when there is none that Prompt flow can use. One request, which needs the
        right to list secrets. Raises NotDeployed.
        """
        from azure.core.exceptions import HttpResponseError

        address = self._address("/listsecrets")
        try:
            reply = with_patience(self._doing("reading"), lambda: self.clients.send("POST", address), log)
        except HttpResponseError as e:
            if status_of(e) == 404:
                return None
            raise
        return _stored(self.name, reply.json().get("properties") or {})

    def ensure(self, wanted: StoredConnection, key: str, role_minutes: float, log: Log = say) -> None:
        """The workspace keeps what is wanted; nothing is written where it does already. Raises AzureRefused."""
        from azure.core.exceptions import HttpResponseError

        body = {"properties": _properties(wanted, key)}

        def make() -> None:
            # Asked for first at each try: an answer that was lost may have been a yes.
            if self.read(log) == wanted:
                return
            try:
                self.clients.send("PUT", self._address(), body)
            except HttpResponseError as e:
                # Another run wrote it at the same moment.
                if status_of(e) != 409 or self.read(log) != wanted:
                    raise

        try:
            wait_for_role(make, self._doing("writing"), log, role_minutes)
        # Azure quotes what it refuses, and the body has the key: neither the words nor the cause are passed on.
        except HttpResponseError as e:
            words = without(refused(self._doing("writing"), e).description or "", [key])
            raise AzureRefused(description=words, allow_retries=False) from None
        except BackendError as e:
            raise type(e)(description=without(e.description or "", [key]), allow_retries=e.allow_retries) from None

    def _address(self, rest: str = "") -> str:
        workspace = self.clients.resource("ml_workspace")
        return f"{workspace}/connections/{self.name}{rest}?api-version={API_VERSION}"

    def _doing(self, verb: str) -> str:
        return f"{verb} the workspace's connection {self.name}"


def _properties(wanted: StoredConnection, key: str) -> dict[str, Any]:
    return {
        "category": CUSTOM,
        "authType": CUSTOM,
        "target": wanted.address,
        "credentials": {"keys": {"key": key}},
        "metadata": {"address": wanted.address, "auth": wanted.auth, **FOR_PROMPT_FLOW},
    }


def _stored(name: str, properties: dict[str, Any]) -> StoredConnection | None:
    metadata = properties.get("metadata") or {}
    keys = (properties.get("credentials") or {}).get("keys") or {}
    usable = properties.get("category") == CUSTOM and FOR_PROMPT_FLOW.items() <= metadata.items()
    if not usable or "address" not in metadata or "key" not in keys or properties.get("target") != metadata["address"]:
        return None
    return StoredConnection(name, metadata["address"], metadata.get("auth", KEY), fingerprint(keys["key"]))
