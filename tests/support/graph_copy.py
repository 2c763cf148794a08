"""A backend's graph without its work: the assets and edges that its definitions have, with code versions to choose.

Both backends can stand in one process so, although a process reads its settings once.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import dagster as dg

from phi_assets.graph import catalog, code_versions, staleness
from phi_assets.graph.dagster_internals import observed_source
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.ports.base import Port
from phi_assets.records import Record
from phi_assets.settings import PROJECT, Settings
from tests.support import event_log
from tests.support.graph_facts import facts_of


class Copy(Record):
    """What an asset of a copied graph makes."""


class Everything(Port):
    """Whatever was made is there."""

    backend: str  # Dagster asks a resource without fields for them in a way that pydantic deprecates

    def find(self, digest: str) -> Record | None:
        return Copy(digest=digest)


class GraphCopy:
    """The graph of a backend, on an instance and in a folder of its own."""

    def __init__(self, backend: str, instance: dg.DagsterInstance, folder: Path) -> None:
        self.backend = backend
        self.assets = facts_of(backend)["graph"]["assets"]
        self.instance = instance
        self.records = RecordIOManager(folder=str(folder))
        self.versions: dict[str, str] = {}

    def definitions(self, settings: Settings, project: Path = PROJECT) -> dg.Definitions:
        """With the code versions that these settings and this source give."""
        specs = [
            dg.AssetSpec(
                name,
                deps=asset["upstream"],
                group_name=asset["group"],
                code_version=code_versions.of(name, settings, project),
            )
            for name, asset in self.assets.items()
        ]

        @dg.multi_asset(specs=[spec for spec in specs if not self._is_source(spec)], can_subset=True)
        def work():
            raise AssertionError("of a copy, nothing is run")

        ports = dict.fromkeys(catalog.KEPT_BY.values(), Everything(backend=self.backend))
        return dg.Definitions(
            assets=[work, *(observed_source(spec)(_observe) for spec in specs if self._is_source(spec))],
            resources={**ports, "io_manager": self.records},
        )

    def make(self, definitions: dg.Definitions, names: Iterable[str], content: str) -> None:
        """A run made these assets, each from what its inputs are by then; `content` tells what came out."""
        for asset in staleness.assets_of(definitions):
            if asset.name not in names:
                continue
            version = self.versions[asset.name] = f"{asset.name} {content}"
            if asset.source:
                event_log.observed(self.instance, asset.name, version)
                continue
            inputs = {name: self.versions[name] for name in asset.upstream}
            event_log.made(self.instance, asset.name, version, inputs, asset.code_version or "")
            self._keep(asset.name, version)

    def asset_states(self, definitions: dg.Definitions) -> Mapping[str, staleness.AssetState]:
        return staleness.asset_states(self.instance, definitions)

    def _is_source(self, spec: dg.AssetSpec) -> bool:
        return self.assets[spec.key.to_user_string()]["source"]

    def _keep(self, name: str, version: str) -> None:
        path = Path(self.records.folder, name).with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Copy(digest=version).to_json(), encoding="utf-8")


def _observe() -> dg.DataVersion:
    raise AssertionError("of a copy, nothing is run")
