"""A place to tear down, helpers that list its plan and its remains, and `phi teardown` in a subprocess."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.client import credential, names, rest
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.infrastructure import compute, deleted_vaults, deployment_run, live_state
from phi_assets.backends.azure.operations import teardown
from phi_assets.ports.infrastructure import DEPLOYED
from phi_assets.project import PROJECT
from tests.support.azure_place import Place
from tests.support.graph_facts import AZURE

CLUSTER = compute.Cluster("Standard_NC24ads_A100_v4", 1, 5)


def prepared(control: Control, home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a place without faults, with shortened polling intervals."""
    control.clear_faults()
    credential.forget()
    live_state.forget()
    monkeypatch.setattr(compute, "POLL_SECONDS", 0.05)
    for module in (teardown, deleted_vaults):
        monkeypatch.setattr(module, "FIRST_POLL", 0.05)
        monkeypatch.setattr(module, "LONGEST_POLL", 0.05)
    monkeypatch.setattr(deployment_run, "FIRST_POLL", 0.1)
    return Place(control, home, name)


def serving(place: Place) -> str:
    """Deploy the place with a cluster and an endpoint, which cost money when idle; return the endpoint's id."""
    place.deploy()
    compute.ensure(place.clients, CLUSTER, place.log)
    endpoint = f"{rest.workspace_id(place.clients)}/onlineEndpoints/chat-{place.name}"
    plant_endpoint(place, endpoint, {"azd-env-name": place.name})
    place.control.plant(
        f"{endpoint}/deployments/blue",
        {"location": "eastus2", "sku": {"capacity": 1}, "properties": {"instanceType": "Standard_E4s_v3"}},
    )
    return endpoint


def plant_endpoint(place: Place, endpoint: str, tags: dict[str, str], **properties: str) -> None:
    place.control.plant(
        endpoint,
        {
            "location": "eastus2",
            "tags": tags,
            "identity": {"type": "SystemAssigned"},
            "properties": {"authMode": "Key", **properties},
        },
    )


def actions(place: Place, everything: bool) -> dict[str, str]:
    return {each.name: each.action for each in place.resources["teardown"].plan(everything, place.log)}


def workspace_name(place: Place) -> str:
    return rest.workspace_id(place.clients).rpartition("/")[2]


def plan(place: Place, everything: bool) -> list[tuple[str, str]]:
    return [(each.kind, each.name) for each in place.resources["teardown"].plan(everything, place.log)]


def take_down(place: Place, everything: bool) -> list[str]:
    return place.resources["teardown"].take_down(everything, place.log)


def left(place: Place) -> list[str]:
    """Return the ids of everything left, including soft-deleted resources and the deployment's record."""
    group = place.group.lower()
    records = place.control.resources("Microsoft.Resources/deployments")
    ids = [*place.control.soft_deleted(), *(str(record["id"]) for record in records)]
    return [
        *place.existing(),
        *(
            each
            for each in ids
            if each.lower().startswith(group) or each.endswith(f"/{names.deployment_name(place.clients.account)}")
        ),
    ]


def stands(place: Place) -> bool:
    return all(place.failed_checks(asset) == [] for asset in (*DEPLOYED, "ml_workspace"))


def refuse_as_busy(monkeypatch: pytest.MonkeyPatch, part: str, times: int) -> None:
    """Answer the first `times` deletions of an address that contains `part` with 409."""
    from azure.core.exceptions import HttpResponseError

    send, refusals = AzureClients.send, iter(range(times))

    def busy(of: AzureClients, verb: str, address: str, *more: Any) -> Any:
        if verb == "DELETE" and part in address and next(refusals, None) is not None:
            error = HttpResponseError("there is an operation in progress")
            error.status_code = 409
            raise error
        return send(of, verb, address, *more)

    monkeypatch.setattr(AzureClients, "send", busy)


def phi(place: Place, *arguments: str, **given: Any) -> subprocess.CompletedProcess[str]:
    variables = {**AZURE, "PHI_AZURE_NAME": place.name, "PHI_HOME": str(place.home)}
    return subprocess.run(
        [sys.executable, "-m", "phi_assets.cli.main", *arguments],
        cwd=PROJECT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        **(given or {"input": ""}),
    )


def phi_at_a_terminal(place: Place, typed: bytes) -> subprocess.CompletedProcess[str]:
    """Run `phi teardown` at a pseudo-terminal with this input."""
    ours, theirs = pty.openpty()
    os.write(ours, typed)
    try:
        return phi(place, "teardown", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
