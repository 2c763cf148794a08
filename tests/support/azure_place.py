"""A place on the local Azure for one test: settings, resources, log lines, and the control that injects faults."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from azure_emulator.control import Control
from azure_emulator.process import local_azure
from azure_emulator.testing.requirements import azurite_or_skip, compiler_or_skip
from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.infrastructure import deployment_run, live_state, providers
from phi_assets.backends.azure.resources import azure_resources
from phi_assets.settings import Settings, read
from tests.support.graph_facts import AZURE


@dataclass
class Place:
    """A deployment's PHI_AZURE_NAME and home."""

    control: Control
    home: Path
    name: str = AZURE["PHI_AZURE_NAME"]
    others: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @cached_property
    def settings(self) -> Settings:
        return read({**AZURE, "PHI_AZURE_NAME": self.name, "PHI_HOME": str(self.home), **self.others})

    @cached_property
    def resources(self) -> dict[str, Any]:
        return azure_resources(self.settings)

    @property
    def clients(self) -> AzureClients:
        return clients(AzureAccount.of(self.settings).fields)

    @property
    def group(self) -> str:
        return self.clients.account.group_id

    def log(self, words: str) -> None:
        self.said.append(words)

    def deploy(self) -> dict[str, Any]:
        return self.resources["cloud_resources"].ensure(self.log)

    def id(self, asset: str) -> str:
        return self.clients.resource(asset)

    def failed_checks(self, asset: str) -> list[str]:
        live_state.forget()
        found = self.resources["cloud_resources"].examine(asset)
        return [name for name, finding in found.items() if not finding.passed]

    def existing(self) -> list[str]:
        """Return the ids of the resource group and of all resources in it."""
        group = self.group.lower()
        ids = [str(resource["id"]) for resource in self.control.resources()]
        return [each for each in ids if each.lower() == group or each.lower().startswith(f"{group}/")]

    def writes(self, service: str | None = None) -> list[str]:
        found = self.control.requests(service=service, writes_only=True)
        return [f"{request['verb']} {request['path']} {request['status']}" for request in found]


@contextmanager
def person_with(place: Place, *roles: str) -> Iterator[None]:
    """During the block the signed-in user has these roles on the subscription instead of Owner; others stay."""
    person = place.clients.principal().object_id
    (owner,) = [role["id"] for role in place.control.roles(person) if role["role"] == "Owner"]
    given = [place.control.give_role(person, role) for role in roles]
    place.control.take_role(owner)
    try:
        yield
    finally:
        place.control.give_role(person)
        for role in given:
            place.control.take_role(role)


def names() -> Iterator[str]:
    """Return names for the places of one test file; equal names in every file, so the evaluated template is cached."""
    return (f"{AZURE['PHI_AZURE_NAME']}-{number}" for number in itertools.count())


@contextmanager
def local_azure_at(state: Path) -> Iterator[Control]:
    """Start a local Azure without delays, point this process's environment at it, and shorten polling intervals."""
    azurite_or_skip()
    compiler_or_skip()
    with pytest.MonkeyPatch.context() as patched, local_azure(state, scale=0.0) as found:
        patched.setattr(deployment_run, "FIRST_POLL", 0.2)
        patched.setattr(providers, "POLL_SECONDS", 0.2)
        yield found.control
