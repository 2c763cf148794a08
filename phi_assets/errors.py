"""Errors that a person can do something about: each is one sentence that says what."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

Metadata = Mapping[str, Any]


class BackendError(dg.Failure):
    """What the backend refused or could not do, in one sentence that names the cure.

    `cure` is that part of the sentence, where it is known apart; it stands in the metadata of the failed step too.
    """

    def __init__(
        self, description: str | None = None, *, cure: str = "", metadata: Metadata | None = None, **others: Any
    ) -> None:
        super().__init__(description, metadata={**(metadata or {}), **({"cure": cure} if cure else {})}, **others)
        self.cure = cure


class ChampionChanged(RuntimeError):
    """Another model became champion after the evaluation: evaluate against it first."""


class EndpointDown(RuntimeError):
    """What is recorded cannot be brought up."""
