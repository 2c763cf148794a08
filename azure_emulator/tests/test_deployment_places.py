"""Where a deployment and its group lie, what a what-if takes, and bodies that Resource Manager refuses."""

from typing import Any

import pytest

from azure_emulator.bicep import compiler
from azure_emulator.messages import Answer
from azure_emulator.testing.in_process import GROUPS, HERE, Inside, refusal
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
def test_a_misspelt_key_of_a_deployment_is_refused(within: Inside, action: str) -> None:
    verb = "POST" if action else "PUT"
    for wrong in (body(location="eastus2", lokation="x"), {**body(location="eastus2"), "properties": {"modus": "x"}}):
        refused = within.ask(verb, f"{at(HERE, 'misspelt')}{action}", wrong, VERSION)
        assert refusal(refused)[:2] == (400, "InvalidRequestContent")


def put(azure: Inside, name: str, location: str) -> Answer:
    return azure.ask("PUT", at(HERE, name), body(location=location), VERSION)


def ended(azure: Inside, id: str) -> None:
    wait_until(lambda: azure.ask("GET", id, version=VERSION).body["properties"]["provisioningState"] == "Succeeded", 5)


def test_a_deployments_name_keeps_its_location(within: Inside) -> None:
    assert put(within, "fixed", "eastus2").status == 201
    ended(within, at(HERE, "fixed"))
    assert put(within, "fixed", "East US 2").status == 200
    ended(within, at(HERE, "fixed"))
    assert refusal(put(within, "fixed", "westeurope")) == (
        400,
        "InvalidDeploymentLocation",
        "Invalid deployment location 'westeurope'. The deployment 'fixed' already exists in location 'East US 2'.",
    )


def test_a_group_keeps_its_location(within: Inside) -> None:
    group = within.group("rg-fixed")
    assert refusal(within.ask("PUT", group, {"location": "westeurope"}, GROUPS)) == (
        409,
        "InvalidResourceGroupLocation",
        "Invalid resource group location 'westeurope'. The Resource group already exists in location 'eastus2'.",
    )


def test_a_deployment_in_a_group_is_evaluated_at_the_groups_location(within: Inside) -> None:
    group = within.group("rg-swedish", "swedencentral")
    assert within.ask("PUT", at(group, "inner"), body(IN_GROUP), VERSION).status == 201
    ended(within, at(group, "inner"))
    made = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-of-the-group"
    assert within.control.resource(made)["location"] == "swedencentral"  # type: ignore[index]


def what_if(azure: Inside) -> str:
    """Where the result will be."""
    answer = azure.ask("POST", f"{at(HERE, 'looked-at')}/whatIf", body(location="eastus2"), VERSION)
    assert (answer.status, answer.body) == (202, None)
    return answer.headers["Location"].partition("?")[0].removeprefix("https://management.azure.com")


def test_a_what_if_takes_its_time(within: Inside) -> None:
    within.control.scale(0.1)
    try:
        result = what_if(within)
        waiting = within.ask("GET", result)
        assert (waiting.status, waiting.body) == (202, None)
        assert waiting.headers["Location"]
        wait_until(lambda: within.ask("GET", result).status == 200, 5)
        assert within.ask("GET", result).body["properties"]["changes"] == []
    finally:
        within.control.scale(0)


def test_a_what_if_that_hangs_never_ends(within: Inside) -> None:
    within.control.what_if_hangs()
    hung = what_if(within)
    within.control.clear_faults()
    other = what_if(within)
    wait_until(lambda: within.ask("GET", other).status == 200, 5)
    assert (within.ask("GET", hung).status, within.ask("GET", hung).body) == (202, None)
