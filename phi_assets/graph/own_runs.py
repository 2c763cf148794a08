"""Which runs of a Dagster are this project's: those of other code locations are never judged, waited for or counted."""

from collections.abc import Sequence

import dagster as dg

from phi_assets.graph.dagster_internals import location_of_run, runs
from phi_assets.project import LOCATION

__all__ = ["LOCATION", "is_own", "own_runs"]


def is_own(run: dg.DagsterRun, location: str = LOCATION) -> bool:
    """Whether the run was launched from the project's code location, or by a process without one, as `dg launch` is."""
    return location_of_run(run) in ("", location)


def own_runs(
    instance: dg.DagsterInstance, filters: dg.RunsFilter, limit: int | None = None, location: str = LOCATION
) -> Sequence[dg.DagsterRun]:
    """Return at most `limit` of the project's runs that the filters accept, the newest first."""
    return [run for run in runs(instance, filters) if is_own(run, location)][:limit]
