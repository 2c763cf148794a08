"""The Azure subscription, region and name that the graph uses, as plain values that a Dagster resource can hold."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self, cast

from phi_assets.settings import Settings

AccessMode = Literal["keyless", "guide"]
SUBSCRIPTION = ("azure_subscription_id", "azure_location", "azure_name")
"""The settings that say where everything is."""


@dataclass(frozen=True)
class AzureAccount:
    """A subscription, a region and a name: the names of all resources of the project derive from these."""

    subscription_id: str
    location: str
    name: str
    access_mode: AccessMode
    state: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The account that the settings name. The settings were validated when they were read."""
        return cls(
            subscription_id=str(settings.azure_subscription_id),
            location=str(settings.azure_location),
            name=str(settings.azure_name),
            access_mode=settings.azure_access_mode,
            state=str(settings.state),
        )

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> Self:
        return cls(**cast("dict", dict(fields)))

    @property
    def fields(self) -> dict[str, str]:
        """The values as a Dagster resource stores them; `clients(fields)` reads them back."""
        return asdict(self)

    @property
    def folder(self) -> Path:
        return Path(self.state)

    @property
    def group(self) -> str:
        """The resource group's name, as in infra/main.bicep."""
        return f"rg-{self.name}"

    @property
    def group_id(self) -> str:
        return f"/subscriptions/{self.subscription_id}/resourceGroups/{self.group}"
