"""The Azure services that Azure ML needs: how each completes a resource in a PUT."""

from azure_emulator.container_apps import resources as container_apps
from azure_emulator.machine_learning import resources as machine_learning
from azure_emulator.resource_manager.resource_types import Kind
from azure_emulator.services import cosmos, foundation, roles, storage

KINDS: dict[str, Kind] = {
    kind.type.lower(): kind
    for kind in (
        *foundation.KINDS,
        *storage.KINDS,
        *cosmos.KINDS,
        *roles.KINDS,
        *container_apps.KINDS,
        *machine_learning.KINDS,
    )
}
