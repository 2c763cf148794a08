"""The Azure SDK's clients: one of each per account and process, created on first use."""

import logging
import time
import warnings
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from phi_assets.backends.azure.client import credential as tokens
from phi_assets.backends.azure.client import outputs
from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.client.retry import with_retries

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.mgmt.quota import QuotaMgmtClient
    from azure.mgmt.resource.deployments import DeploymentsMgmtClient
    from azure.mgmt.resource.resources import ResourceManagementClient
    from azure.storage.blob import BlobServiceClient

ASKED_AGAIN_SECONDS = 30.0  # of a deployment that did not exist: this home's own is in the cache at once
SIGN_IN_MINUTES = 1.0  # short, because a user may be waiting at the terminal
# The SDK's own retries stay few: `with_retries` decides about retries, and logs what it waits for.
PIPELINE: dict[str, Any] = {"retry_total": 2, "retry_backoff_factor": 0.2, "connection_timeout": 20, "read_timeout": 60}


class AzureClients:
    """All clients of one account, with one shared credential."""

    def __init__(self, account: AzureAccount) -> None:
        self.account = account
        self._credential = tokens.Credential()
        self._blobs: dict[str, BlobServiceClient] = {}
        self._not_deployed: dict[str, float] = {}  # when Azure last said so

    def credential(self) -> tokens.Credential:
        return self._credential

    def principal(self) -> tokens.Principal:
        """The signed-in principal. Raises NotSignedIn."""
        return with_retries("requesting a token", lambda: tokens.principal(self._credential), minutes=SIGN_IN_MINUTES)

    def outputs(self, part: str = "") -> outputs.Outputs | None:
        """The outputs of the deployment; None before it. Read from Azure, and cached, where this home has none.

        `part` is `outputs.CHAT` for the chat's.
        """
        found = outputs.read(self.account, part)
        if found is None and time.monotonic() - self._not_deployed.get(part, float("-inf")) > ASKED_AGAIN_SECONDS:
            found = outputs.of_azure(self.account, self.get, part)
            if found is None:
                self._not_deployed[part] = time.monotonic()
            else:
                outputs.write(self.account, found, part)
        return found

    def resource(self, name: str) -> str:
        """The full resource id of an infrastructure asset. Raises NotDeployed before the deployment."""
        found = self.outputs()
        if found is None or name not in found.resources:
            raise outputs.NotDeployed(
                description=f"{name} of {self.account.group} was not deployed; materialise {name} first",
                allow_retries=False,
            )
        return found.resources[name]

    def ml(self) -> "MLClient":
        """Azure ML, bound to the deployed workspace. Raises NotDeployed before the deployment."""
        return self._ml

    def deployments(self) -> "DeploymentsMgmtClient":
        return self._deployments

    def resources(self) -> "ResourceManagementClient":
        return self._resources

    def get(self, address: str) -> dict[str, Any]:
        """The JSON at a relative or absolute URL of Azure Resource Manager. Raises HttpResponseError."""
        return self.send("GET", address).json()

    def send(self, verb: str, address: str, body: Mapping[str, Any] | None = None) -> Any:
        """The response of Azure Resource Manager to one request. Raises HttpResponseError."""
        from azure.core.rest import HttpRequest

        response = self._resources.send_request(HttpRequest(verb, address, json=body))
        response.raise_for_status()
        return response

    def quota(self) -> "QuotaMgmtClient":
        return self._quota

    def blob(self, account_url: str) -> "BlobServiceClient":
        """Blob storage, accessed with the identity, never with an account key."""
        from azure.storage.blob import BlobServiceClient

        if account_url not in self._blobs:
            # The storage SDK has its own backoff options, and by default waits 15 s after the first error.
            options = {**PIPELINE, "retry_total": 3, "initial_backoff": 0.5, "increment_base": 2}
            self._blobs[account_url] = BlobServiceClient(account_url, credential=self._credential, **options)
        return self._blobs[account_url]

    @cached_property
    def _ml(self) -> "MLClient":
        with warnings.catch_warnings():
            # The import emits some 450 warnings about marshmallow 4, which a user cannot fix.
            warnings.simplefilter("ignore")
            from azure.ai.ml import MLClient

        # It logs every 404 as an error and experimental features as warnings; our own messages report what matters.
        logging.getLogger("azure.ai.ml").setLevel(logging.ERROR)
        logging.getLogger("azure.ai.ml._telemetry").setLevel(logging.CRITICAL)
        return MLClient(
            self._credential,  # type: ignore[arg-type]
            self.account.subscription_id,
            self.account.group,
            self.resource("ml_workspace").rpartition("/")[2],
            enable_telemetry=False,
            show_progress=False,
            **PIPELINE,
        )

    @cached_property
    def _deployments(self) -> "DeploymentsMgmtClient":
        from azure.mgmt.resource.deployments import DeploymentsMgmtClient

        return DeploymentsMgmtClient(self._credential, self.account.subscription_id, **PIPELINE)

    @cached_property
    def _resources(self) -> "ResourceManagementClient":
        from azure.mgmt.resource.resources import ResourceManagementClient

        return ResourceManagementClient(self._credential, self.account.subscription_id, **PIPELINE)

    @cached_property
    def _quota(self) -> "QuotaMgmtClient":
        from azure.mgmt.quota import QuotaMgmtClient

        return QuotaMgmtClient(self._credential, self.account.subscription_id, **PIPELINE)


def clients(fields: Mapping[str, str]) -> AzureClients:
    """The clients of the account whose `fields` a Dagster resource holds."""
    return _clients(AzureAccount.from_fields(fields))


@lru_cache(maxsize=8)
def _clients(account: AzureAccount) -> AzureClients:
    return AzureClients(account)
