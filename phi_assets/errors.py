"""Errors with a remedy: each message is one sentence that names it."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

Metadata = Mapping[str, Any]


class BackendError(dg.Failure):
    """An operation that the backend refused or that failed, in one sentence that names the remedy.

    `remedy` is that part of the sentence, where it is known separately; it is also metadata of the failed step.
    """

    def __init__(
        self, description: str | None = None, *, remedy: str = "", metadata: Metadata | None = None, **others: Any
    ) -> None:
        super().__init__(description, metadata={**(metadata or {}), **({"remedy": remedy} if remedy else {})}, **others)
        self.remedy = remedy


class ChampionChanged(RuntimeError):
    """Another model became champion after the evaluation: evaluate against it first."""


class EndpointDown(RuntimeError):
    """The recorded deployment cannot be started."""
