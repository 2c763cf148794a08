"""A copy of a backend's graph that executes nothing: its assets and edges, with code versions of given settings.

A process reads its settings once and loads one backend; copies of both backends can be in one process.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.backends.local.operations.asset_catalog import HomeCatalog
from phi_assets.graph import asset_facts, code_versions, staleness
from phi_assets.graph.dagster_internals import observed_source
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.ports.base import Port
from phi_assets.project import PROJECT
from phi_assets.records import Record
from phi_assets.settings import Settings
from tests.support import event_log
from tests.support.graph_facts import facts_of


class Copy(Record):
    """The record of an asset of a copied graph."""


class Everything(Port):
    """A port that finds every digest."""

    backend: str  # for a resource without fields, Dagster uses an access that pydantic deprecates

    def find(self, digest: str) -> Record | None:
        return Copy(digest=digest)


class GraphCopy:
    """A backend's graph on its own Dagster instance, with records in its own folder."""

    def __init__(self, backend: str, instance: dg.DagsterInstance, folder: Path) -> None:
        self.backend = backend
        known = facts_of(backend)
        self.assets = known["graph"]["assets"]
        self.ports: dict[str, str | None] = known["ports"]
        self.live: list[str] = known["live"]
        self.code = code_of_assets(backend)
        self.instance = instance
        self.catalog = HomeCatalog(state=str(folder / "project"))
        self.records = RecordIOManager(folder=str(folder))
        self.versions: dict[str, str] = {}

    def definitions(self, settings: Settings, project: Path = PROJECT) -> dg.Definitions:
        """Return definitions with the code versions of these settings and this source."""
        specs = [
            dg.AssetSpec(
                name,
                deps=asset["upstream"],
                group_name=asset["group"],
                code_version=code_versions.of(self.code[name], settings, project),
                metadata={asset_facts.PORT: self.ports[name]} if self.ports[name] else {},
                tags={asset_facts.LIVE: "true"} if name in self.live else {},
            )
            for name, asset in self.assets.items()
        ]

        @dg.multi_asset(specs=[spec for spec in specs if not self._is_source(spec)], can_subset=True)
        def work():
            raise AssertionError("a copied graph executes nothing")

        ports = dict.fromkeys(filter(None, self.ports.values()), Everything(backend=self.backend))
        return dg.Definitions(
            assets=[work, *(observed_source(spec)(_observe) for spec in specs if self._is_source(spec))],
            resources={**ports, "io_manager": self.records, "catalog": self.catalog},
        )

    def make(self, definitions: dg.Definitions, names: Iterable[str], content: str) -> None:
        """Store events as if a run had materialised these assets from their current inputs, as `content`."""
        for asset in staleness.assets_of(definitions):
            if asset.name not in names:
                continue
            version = self.versions[asset.name] = f"{asset.name} {content}"
            if asset.source:
                event_log.observed(self.instance, asset.name, version)
                continue
            inputs = {name: self.versions[name] for name in asset.upstream}
            event_log.made(self.instance, asset.name, version, inputs, asset.code_version or "", catalog=self.catalog)
            self._keep(asset.name, version)

    def asset_states(self, definitions: dg.Definitions) -> Mapping[str, staleness.AssetState]:
        return staleness.asset_states(self.instance, definitions)

    def _is_source(self, spec: dg.AssetSpec) -> bool:
        return self.assets[spec.key.to_user_string()]["source"]

    def _keep(self, name: str, version: str) -> None:
        path = Path(self.records.folder, name).with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Copy(digest=version).to_json(), encoding="utf-8")


def code_of_assets(backend: str) -> dict[str, code_versions.Code]:
    """Return what decides each asset of the backend."""
    return {name: _code(values) for name, values in facts_of(backend)["code"].items()}


def _code(values: dict[str, Any]) -> code_versions.Code:
    plain: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return code_versions.Code(**plain)


def _observe() -> dg.ObserveResult:
    raise AssertionError("a copied graph executes nothing")
