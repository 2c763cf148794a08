"""The outputs of the last deployment: resource ids by asset name, stored under the state so that no call is needed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.errors import BackendError
from phi_assets.files import atomic_write


class NotDeployed(BackendError):
    """The resources of this account have not been deployed from this home."""


@dataclass(frozen=True)
class Outputs:
    """The outputs of infra/main.bicep, with the hash of the template and the parameters that were deployed."""

    template_hash: str
    resources: dict[str, str]
    role_assignments: list[str]


def read(account: AzureAccount) -> Outputs | None:
    """The stored outputs of this account; None when there are none."""
    path = _path(account)
    if not path.is_file():
        return None
    return Outputs(**json.loads(path.read_text(encoding="utf-8")))


def write(account: AzureAccount, deployed: Outputs) -> None:
    atomic_write(_path(account), json.dumps(asdict(deployed), indent=2))


def forget(account: AzureAccount) -> None:
    """Delete the stored outputs of this account, after its resources were deleted."""
    _path(account).unlink(missing_ok=True)


def resource(account: AzureAccount, name: str) -> str:
    """The full id of an infrastructure asset's resource. Raises NotDeployed."""
    stored = read(account)
    if stored is None or name not in stored.resources:
        raise NotDeployed(
            description=f"{name} of {account.group} was not deployed from this home; materialise {name} first",
            allow_retries=False,
        )
    return stored.resources[name]


def _path(account: AzureAccount) -> Path:
    return account.folder / "deployments" / f"{account.subscription_id}-{account.location}-{account.name}.json"
