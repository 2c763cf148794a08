"""The two functions of Dagster that we use and that it calls beta, without a warning at every start.

Both have been in use for years and have no successor; the snapshot test of the graph would show a change of behaviour.
"""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg


def observed_source(spec: dg.AssetSpec) -> Callable[[Callable[..., dg.DataVersion]], dg.AssetsDefinition]:
    """A source that Dagster observes: its data version marks what depends on it as stale when it changes.

    `dagster.multi_observable_source_asset` for one asset; unlike `observable_source_asset` it keeps owners and kinds.
    """

    def decorate(observe: Callable[..., dg.DataVersion]) -> dg.AssetsDefinition:
        @functools.wraps(observe)
        def observed(*arguments: Any, **resources: Any) -> dg.ObserveResult:
            return dg.ObserveResult(asset_key=spec.key, data_version=observe(*arguments, **resources))

        observed.__annotations__["return"] = dg.ObserveResult
        with _quiet():
            return dg.multi_observable_source_asset(specs=[spec])(observed)

    return decorate


def with_code_references(assets: Sequence[Any]) -> list[Any]:
    """The assets, each with the file and line that made it, for the UI's link to the code."""
    with _quiet():
        return list(dg.with_source_code_references(list(assets)))


def _quiet() -> warnings.catch_warnings:
    return warnings.catch_warnings(action="ignore", category=dg.BetaWarning)
