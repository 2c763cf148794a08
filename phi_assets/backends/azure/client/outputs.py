"""The outputs of the last deployment: resource ids by asset name. Azure has them; this home caches them in a file."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from phi_assets.backends.azure.client import names
from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.client.azure_errors import refused, status_of
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.errors import BackendError
from phi_assets.files import atomic_write

Get = Callable[[str], dict[str, Any]]
VERSION = "2021-04-01"
CHAT = "-chat"
"""The part of a deployment's name that says it is infra/chat.json's."""


class NotDeployed(BackendError):
    """The resources of this account have not been deployed."""


@dataclass(frozen=True)
class Outputs:
    """The outputs of infra/main.bicep, or of infra/chat.bicep, with the hash of template and parameters."""

    template_hash: str
    resources: dict[str, str]
    role_assignments: list[str]


def read(account: AzureAccount, part: str = "") -> Outputs | None:
    """The outputs that this home cached; None when there are none."""
    path = _path(account, part)
    if not path.is_file():
        return None
    return Outputs(**json.loads(path.read_text(encoding="utf-8")))


def write(account: AzureAccount, deployed: Outputs, part: str = "") -> None:
    atomic_write(_path(account, part), json.dumps(asdict(deployed), indent=2))


def forget(account: AzureAccount) -> None:
    """Delete the cached outputs of this account, after its resources were deleted."""
    for part in ("", CHAT):
        _path(account, part).unlink(missing_ok=True)


def of_azure(account: AzureAccount, get: Get, part: str = "") -> Outputs | None:
    """The outputs of the account's last deployment, whoever made it, if it succeeded and its group exists; else None.

    `get` reads an address of Azure Resource Manager. Raises AzureRefused, NotSignedIn or GaveUp.
    """
    place = f"/subscriptions/{account.subscription_id}/providers/Microsoft.Resources/deployments/"
    found = _body(get, f"{place}{names.deployment_name(account, part)}")
    of = (found or {}).get("properties") or {}
    if of.get("provisioningState") != "Succeeded" or _body(get, account.group_id) is None:
        return None
    try:
        values = {name: output["value"] for name, output in of["outputs"].items()}
        digest = str(of["parameters"]["templateHash"]["value"])
        return Outputs(digest, dict(values["resources"]), list(values["roleAssignments"]))
    except (KeyError, TypeError, AttributeError):  # of another template
        return None


def _body(get: Get, address: str) -> dict[str, Any] | None:
    from azure.core.exceptions import HttpResponseError

    what = f"reading {address.rpartition('/')[2]}"
    try:
        return with_retries(what, lambda: get(f"{address}?api-version={VERSION}"))
    except HttpResponseError as e:
        if status_of(e) == 404:
            return None
        raise refused(what, e) from e


def _path(account: AzureAccount, part: str) -> Path:
    return account.folder / "deployments" / f"{account.subscription_id}-{account.location}-{account.name}{part}.json"
