"""The code location: every asset, check, job and sensor of `defs/`, on the chosen backend's resources."""

import dagster as dg

from phi_assets import defs
from phi_assets.backends import build_resources
from phi_assets.beta import with_code_references
from phi_assets.defs.operations.jobs import JOBS
from phi_assets.defs.operations.sensors import SENSORS
from phi_assets.settings import current


@dg.definitions
def definitions() -> dg.Definitions:
    """One process a run: what is heavy runs in child processes of its own."""
    return dg.Definitions(
        assets=with_code_references(dg.load_assets_from_package_module(defs)),
        asset_checks=dg.load_asset_checks_from_package_module(defs),
        jobs=JOBS,
        sensors=SENSORS,
        resources=build_resources(current()),
        executor=dg.in_process_executor,
    )
