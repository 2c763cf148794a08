"""An emulator in this process, for tests that call Resource Manager directly, without Azure's clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure_emulator.blob_storage.azurite import SharedAzurite
from azure_emulator.control_server import ControlCommands
from azure_emulator.emulator import Emulator
from azure_emulator.identity.identities import SUBSCRIPTION, USER
from azure_emulator.messages import Answer, AzureError, Call
from azure_emulator.resource_manager import arm
from azure_emulator.testing.clients import NAMESPACES

HERE = f"/subscriptions/{SUBSCRIPTION}"
GROUPS = "2025-04-01"


@dataclass(frozen=True)
class InProcessEmulator:
    """An emulator and its control commands."""

    emulator: Emulator

    @property
    def control(self) -> ControlCommands:
        return ControlCommands(self.emulator)

    def ask(
        self, method: str, path: str, body: Any = None, version: str = "2025-06-01", oid: str = USER, **query: str
    ) -> Answer:
        """Send a request to Resource Manager. Return its response, also an error."""
        call = Call(method, "management.azure.com", path, {"api-version": version, **query}, {}, body, oid)
        try:
            return arm.handle(self.emulator, call)
        except AzureError as e:
            return e.answer()

    def group(self, name: str, location: str = "eastus2") -> str:
        """Create a resource group and return its id."""
        id = f"{HERE}/resourceGroups/{name}"
        assert self.ask("PUT", id, {"location": location}, GROUPS).status in (200, 201)
        return id

    def plant(self, id: str, **body: Any) -> str:
        """Insert a resource without checks and return its id."""
        self.control.plant(id, body, {})
        return id


@contextmanager
def in_process_emulator(folder: Path) -> Iterator[InProcessEmulator]:
    """Run an emulator at scale 0 with all providers registered."""
    emulator = Emulator(folder, scale=0, azurite=SharedAzurite())
    for namespace in NAMESPACES:
        emulator.providers.set(namespace, "Registered")
    try:
        yield InProcessEmulator(emulator)
    finally:
        asyncio.run(emulator.blobs.close())
        asyncio.run(emulator.gateway.close())
        emulator.close()


def refusal(answer: Answer) -> tuple[int, str, str]:
    """Return status, code and message of an error response."""
    assert "error" in (answer.body or {}), answer
    return answer.status, answer.body["error"]["code"], answer.body["error"]["message"]
