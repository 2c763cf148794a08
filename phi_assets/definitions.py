"""The code location: everything in `defs/` that the chosen backend has, and the backend's resources.

Whatever is added to `defs/` is loaded too: Python modules, components and `defs.yaml` files.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.backends import select
from phi_assets.files import DamagedFile
from phi_assets.graph import asset_facts, code_versions
from phi_assets.graph.asset_keys import with_project
from phi_assets.graph.dagster_internals import check_specs_of, load_folder, specs_of, with_code_references
from phi_assets.instance import home
from phi_assets.settings import Settings, current


@dg.definitions
def definitions() -> dg.Definitions:
    """Return the definitions. Each run is one process; heavy work runs in child processes."""
    settings = current()
    with suppress(DamagedFile):  # opening the home says it
        home.version_of(settings)  # refuses a newer release's home: Dagster's own commands do without `phi`
    loaded, tree = load_folder(Path(__file__).parent)
    resources = {**(loaded.resources or {}), **select.build_resources(settings)}
    assets, absent = _assets(loaded.assets or (), settings)
    checks = [
        check
        for check in loaded.asset_checks or ()
        if all(asset_facts.is_here(spec.metadata, settings) for spec in check_specs_of(check))
        and absent.isdisjoint(spec.asset_key for spec in check_specs_of(check))
    ]
    return dg.Definitions(
        assets=with_project(with_versions(with_code_references(assets), resources, settings)),
        asset_checks=with_project(checks),
        jobs=_here(loaded.jobs, settings),
        schedules=_here(loaded.schedules, settings),
        sensors=_here(loaded.sensors, settings),
        resources=resources,
        executor=loaded.executor or dg.in_process_executor,
        loggers=loaded.loggers,
        metadata=loaded.metadata,
        component_tree=tree,
    )


def with_versions(assets: Iterable[Any], resources: Mapping[str, Any], settings: Settings) -> list[Any]:
    """Return the assets with the code version of each that has facts. A user's asset keeps its own, or none."""

    def versioned(spec: dg.AssetSpec) -> dg.AssetSpec:
        code = code_versions.code_of(spec, resources)
        return spec.replace_attributes(code_version=code_versions.of(code, settings)) if code else spec

    return [
        dg.map_asset_specs(versioned, [asset])[0] if isinstance(asset, dg.AssetsDefinition | dg.AssetSpec) else asset
        for asset in assets
    ]


def _assets(assets: Iterable[Any], settings: Settings) -> tuple[list[Any], set[dg.AssetKey]]:
    """Return the assets that the settings leave in, and the keys of those that they leave out.

    An asset that several modules import is loaded from each of them, and is returned once.
    """
    here: list[Any] = []
    absent: set[dg.AssetKey] = set()
    for asset in {id(each): each for each in assets}.values():
        lacking = {spec.key for spec in specs_of(asset) if not asset_facts.is_here(spec.metadata, settings)}
        absent |= lacking
        if not lacking:
            here.append(asset)
    return here, absent


def _here(found: Iterable[Any] | None, settings: Settings) -> list[Any]:
    """Return the jobs, schedules or sensors that the settings leave in, each once."""
    by_name = {each.name: each for each in found or ()}
    return [each for each in by_name.values() if asset_facts.is_here(getattr(each, "metadata", None) or {}, settings)]
