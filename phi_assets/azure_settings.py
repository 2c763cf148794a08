"""The settings that only Azure has, `PHI_AZURE_*`: the part of `Settings` that a laptop leaves alone."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from phi_assets.settings_values import AppId, AzureName, Region, SubscriptionId


class AzureSettings(BaseModel):
    """The subscription, the machines, their limits and their prices."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    azure_subscription_id: SubscriptionId | None = Field(None, description="Azure: the subscription's id (required)")
    azure_location: Region | None = Field(None, description="Azure: the region, such as eastus2 (required)")
    azure_name: AzureName | None = Field(
        None,
        description="Azure: a short name that every resource name contains; the resource group is rg-<name> (required)",
    )
    azure_access_mode: Literal["keyless", "guide"] = Field(
        "keyless",
        description="Azure: keyless: identities with least privilege; guide: the guide's roles and shared keys",
    )
    azure_vm_size: str = Field(
        "Standard_NC24ads_A100_v4", description="Azure: VM size of the training cluster; Standard_E16s_v3 without a GPU"
    )
    azure_nodes: int = Field(
        1, ge=1, le=16, description="Azure: maximum nodes of the training cluster; it scales down to zero"
    )
    azure_idle_minutes: int = Field(5, ge=1, description="Azure: idle minutes before a node of the cluster is removed")
    azure_max_job_cost: float = Field(
        20,
        gt=0,
        description="Azure: maximum cost of one job's run time in US dollars, at the price table's rate; its time "
        "limit follows from it",
    )
    azure_queue_minutes: float = Field(
        60, gt=0, description="Azure: maximum minutes that a job waits in the queue for a machine"
    )
    azure_role_minutes: float = Field(
        30, gt=0, description="Azure: maximum minutes of propagation of a new role assignment"
    )
    azure_request_quota: bool = Field(False, description="Azure: request a quota increase when the quota is too small")
    azure_endpoint_vm_size: str = Field("Standard_E4s_v3", description="Azure: machine of the endpoint")
    azure_endpoint_instances: int = Field(1, ge=1, le=50, description="Azure: machines of the endpoint")
    azure_endpoint_auth: Literal["key", "aad_token"] = Field(
        "key",
        description="Azure: authentication of the endpoint: key, its key; aad_token, an Entra token",
    )
    azure_endpoint_concurrency: int = Field(
        3,
        ge=1,
        description="Azure: concurrent requests of one machine of the endpoint; twice as many may wait in its queue",
    )
    azure_request_seconds: int = Field(
        180, ge=1, le=180, description="Azure: request timeout in seconds; Azure allows at most 180"
    )
    azure_canary_share: int = Field(
        10, ge=1, le=49, description="Azure: per cent of the traffic that a new deployment receives in its canary phase"
    )
    azure_canary_minutes: float = Field(1, ge=0, description="Azure: minutes of a new deployment's canary phase")
    azure_inbox: str = Field(
        "inbox/", description="Azure: prefix in the workspace's blob container whose files are new conversations too"
    )
    azure_read_datasets: Literal["here", "azure"] = Field(
        "here", description="Azure: where an hf: dataset is read: here, on this machine; azure, in a job of the cluster"
    )
    azure_chat_client_id: AppId | None = Field(
        None,
        description="Azure: client id of the app registration by which people sign in to the chat; without it there "
        "is no chat",
    )
    azure_chat_image: str | None = Field(
        None, description="Azure: image of the chat's container; without it the container registry builds one"
    )
    azure_purge_protection: bool = Field(
        False, description="Azure: forbid purging the deleted key vault; this cannot be undone"
    )
    azure_monthly_budget: float | None = Field(
        None,
        gt=0,
        description="Azure: monthly budget in US dollars; preflight and cost compare with it, "
        "and no training starts automatically beyond it",
    )
