"""Locations of deployments and groups, durations of what-ifs, and bodies that Resource Manager refuses."""

from typing import Any

import pytest

from azure_emulator.bicep import compiler
from azure_emulator.messages import Answer
from azure_emulator.testing.in_process import GROUPS, HERE, InProcessEmulator, refusal
from azure_emulator.testing.job_runner_alone import wait_until
from azure_emulator.testing.requirements import needs_schemas

pytestmark = [
    pytest.mark.azure,
    pytest.mark.skipif(compiler.compiler() is None, reason="other templates than our own need the compiler"),
]
VERSION = "2025-04-01"
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
IN_GROUP = {
    "$schema": SCHEMA,
    "contentVersion": "1.0.0.0",
    "resources": [
        {
            "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
            "apiVersion": "2023-01-31",
            "name": "id-of-the-group",
            "location": "[resourceGroup().location]",
        }
    ],
}
EMPTY = {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": []}


def body(template: dict[str, Any] = EMPTY, **more: Any) -> dict[str, Any]:
    return {"properties": {"mode": "Incremental", "template": template}, **more}


def at(scope: str, name: str) -> str:
    return f"{scope}/providers/Microsoft.Resources/deployments/{name}"


@needs_schemas
@pytest.mark.parametrize("action", ["", "/whatIf", "/validate"])
def test_a_misspelt_key_of_a_deployment_is_refused(in_process: InProcessEmulator, action: str) -> None:
    verb = "POST" if action else "PUT"
    for wrong in (body(location="eastus2", lokation="x"), {**body(location="eastus2"), "properties": {"modus": "x"}}):
        refused = in_process.ask(verb, f"{at(HERE, 'misspelt')}{action}", wrong, VERSION)
        assert refusal(refused)[:2] == (400, "InvalidRequestContent")


def put(azure: InProcessEmulator, name: str, location: str) -> Answer:
    return azure.ask("PUT", at(HERE, name), body(location=location), VERSION)


def ended(azure: InProcessEmulator, id: str) -> None:
    wait_until(lambda: azure.ask("GET", id, version=VERSION).body["properties"]["provisioningState"] == "Succeeded", 5)


def test_a_deployments_name_keeps_its_location(in_process: InProcessEmulator) -> None:
    assert put(in_process, "fixed", "eastus2").status == 201
    ended(in_process, at(HERE, "fixed"))
    assert put(in_process, "fixed", "East US 2").status == 200
    ended(in_process, at(HERE, "fixed"))
    assert refusal(put(in_process, "fixed", "westeurope")) == (
        400,
        "InvalidDeploymentLocation",
        "Invalid deployment location 'westeurope'. The deployment 'fixed' already exists in location 'East US 2'.",
    )


def test_a_group_keeps_its_location(in_process: InProcessEmulator) -> None:
    group = in_process.group("rg-fixed")
    assert refusal(in_process.ask("PUT", group, {"location": "westeurope"}, GROUPS)) == (
        409,
        "InvalidResourceGroupLocation",
        "Invalid resource group location 'westeurope'. The Resource group already exists in location 'eastus2'.",
    )


def test_a_deployment_in_a_group_is_evaluated_at_the_groups_location(in_process: InProcessEmulator) -> None:
    group = in_process.group("rg-swedish", "swedencentral")
    assert in_process.ask("PUT", at(group, "inner"), body(IN_GROUP), VERSION).status == 201
    ended(in_process, at(group, "inner"))
    made = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-of-the-group"
    assert in_process.control.resource(made)["location"] == "swedencentral"  # type: ignore[index]


def what_if(azure: InProcessEmulator) -> str:
    """Start a what-if. Return the address of its result."""
    answer = azure.ask("POST", f"{at(HERE, 'looked-at')}/whatIf", body(location="eastus2"), VERSION)
    assert (answer.status, answer.body) == (202, None)
    return answer.headers["Location"].partition("?")[0].removeprefix("https://management.azure.com")


def test_a_what_if_takes_its_time(in_process: InProcessEmulator) -> None:
    in_process.control.scale(0.1)
    try:
        result = what_if(in_process)
        waiting = in_process.ask("GET", result)
        assert (waiting.status, waiting.body) == (202, None)
        assert waiting.headers["Location"]
        wait_until(lambda: in_process.ask("GET", result).status == 200, 5)
        assert in_process.ask("GET", result).body["properties"]["changes"] == []
    finally:
        in_process.control.scale(0)


def test_a_what_if_that_hangs_never_ends(in_process: InProcessEmulator) -> None:
    in_process.control.what_if_hangs()
    hung = what_if(in_process)
    in_process.control.clear_faults()
    other = what_if(in_process)
    wait_until(lambda: in_process.ask("GET", other).status == 200, 5)
    assert (in_process.ask("GET", hung).status, in_process.ask("GET", hung).body) == (202, None)
