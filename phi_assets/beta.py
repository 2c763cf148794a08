"""The two functions of Dagster that we use and that it calls beta, without a warning at every start.

Both have been in use for years and have no successor; the snapshot test of the graph would show a change of behaviour.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg


def observed_source(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`dagster.observable_source_asset`: a source with a data version that marks what depends on it as stale."""

    def decorate(observe: Callable[..., Any]) -> Any:
        with _quiet():
            return dg.observable_source_asset(**options)(observe)

    return decorate


def with_code_references(assets: Sequence[Any]) -> list[Any]:
    """The assets, each with the file and line that made it, for the UI's link to the code."""
    with _quiet():
        return list(dg.with_source_code_references(list(assets)))


def _quiet() -> warnings.catch_warnings:
    return warnings.catch_warnings(action="ignore", category=dg.BetaWarning)
