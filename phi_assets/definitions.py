"""The code location: every asset, check, job and sensor of `defs/` that the chosen backend has, and its resources."""

from typing import Any

import dagster as dg

from phi_assets import defs
from phi_assets.backends import select
from phi_assets.defs.operations.jobs import JOBS
from phi_assets.defs.operations.schedules import SCHEDULES
from phi_assets.defs.operations.sensors import SENSORS
from phi_assets.graph import catalog
from phi_assets.graph.dagster_internals import with_code_references
from phi_assets.settings import current


@dg.definitions
def definitions() -> dg.Definitions:
    """Return the definitions. Each run is one process; heavy work runs in child processes."""
    assets: list[Any] = list(dg.load_assets_from_package_module(defs))
    checks = dg.load_asset_checks_from_package_module(defs)
    return dg.Definitions(
        assets=with_code_references([asset for asset in assets if catalog.has(_names(asset.keys))]),
        asset_checks=[
            check
            for check in checks
            if catalog.has([check.node_def.name, *_names(key.asset_key for key in check.check_keys)])
        ],
        jobs=[job for job in JOBS if catalog.has([job.name])],
        schedules=SCHEDULES,
        sensors=SENSORS,
        resources=select.build_resources(current()),
        executor=dg.in_process_executor,
    )


def _names(keys: Any) -> list[str]:
    return [key.to_user_string() for key in keys]
