"""Description of a resource type: valid names, provisioning time, and the properties that Azure adds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.resource_ids import name_of
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState


@dataclass
class Put:
    """A PUT in progress. `complete` functions add Azure's properties to `body` and change nothing else."""

    emulator: EmulatorState
    id: str
    body: dict[str, Any]
    old: Resource | None
    oid: str

    @property
    def name(self) -> str:
        return name_of(self.id)

    @property
    def properties(self) -> dict[str, Any]:
        if self.body.get("properties") is None:
            self.body["properties"] = {}
        return self.body["properties"]

    def stored_or_new(self, key: str, make: Callable[[], Any]) -> Any:
        """Return the resource's stored value of `key`, or a new one."""
        if self.old and key in self.old.properties:
            return self.old.properties[key]
        return make()

    def default(self, **values: Any) -> None:
        for key, value in values.items():
            if self.properties.get(key) is None:
                self.properties[key] = value


@dataclass(frozen=True)
class Kind:
    """One resource type. The resource is Creating for `seconds` scaled seconds; 0 completes it at once."""

    type: str
    complete: Callable[[Put], None] = lambda put: None
    settle: Callable[[EmulatorState, Resource], None] = lambda emulator, resource: None
    dropped: Callable[[EmulatorState, Resource], None] = lambda emulator, resource: None
    name: str = r"[A-Za-z0-9._()\-]{1,90}"
    name_error: tuple[str, str] = ("InvalidResourceName", "Resource name {name} is invalid.")
    seconds: float = 0.0
    located: bool = True

    def require_name(self, name: str) -> None:
        if not re.fullmatch(self.name, name):
            code, message = self.name_error
            raise AzureError(400, code, message.format(name=name))
