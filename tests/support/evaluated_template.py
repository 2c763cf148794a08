"""infra/main.json evaluated by the Bicep compiler: the resources that a deployment with given parameters creates."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from azure_emulator.bicep import compiler

SUBSCRIPTION = "00000000-0000-0000-0000-0000000000aa"
DEPLOYER = "22222222-2222-2222-2222-222222222222"
LOCATION = "eastus2"
TEMPLATE = compiler.PROJECT / "infra/main.json"

needs_compiler = pytest.mark.skipif(
    compiler.compiler() is None, reason="no Bicep compiler; `az bicep install` installs one, or name yours in $BICEP"
)


@dataclass(frozen=True)
class Installation:
    """The resources and the outputs of one deployment."""

    resources: list[dict[str, Any]]
    outputs: dict[str, Any]

    def every(self, kind: str) -> list[dict[str, Any]]:
        """The resources of a type, such as Microsoft.Storage/storageAccounts."""
        return [resource for resource in self.resources if resource["type"] == kind]

    def one(self, kind: str) -> dict[str, Any]:
        """The only resource of a type."""
        (resource,) = self.every(kind)
        return resource

    def asset(self, name: str) -> dict[str, Any]:
        """The resource behind an infrastructure asset."""
        (resource,) = [resource for resource in self.resources if resource["id"] == self.outputs["resources"][name]]
        return resource


@cache
def chat_installation(**parameters: str) -> Installation:
    """Return the deployment of infra/chat.json."""
    needed = {"environmentName": "phi-local", "location": LOCATION, "principalId": DEPLOYER}
    found = compiler.snapshot(TEMPLATE.with_name("chat.json"), needed | parameters, SUBSCRIPTION, LOCATION)
    assert found["diagnostics"] == []
    return Installation(found["predictedResources"], found["outputs"])


@cache
def installation(**parameters: str | bool) -> Installation:
    """Return the deployment with these parameters, which override the three required ones."""
    needed = {"environmentName": "phi-local", "location": LOCATION, "principalId": DEPLOYER}
    found = compiler.snapshot(TEMPLATE, needed | parameters, SUBSCRIPTION, LOCATION)
    assert found["diagnostics"] == []
    return Installation(found["predictedResources"], found["outputs"])
