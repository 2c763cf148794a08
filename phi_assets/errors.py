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


class BaseModelError(Exception):
    """A base model can't be used. The message says what was wrong, where, and what to do."""


class UnknownBaseModel(BaseModelError):
    """The text is not a base model reference in a known form."""


class BaseModelMissing(BaseModelError):
    """The package, repository or folder does not exist or can't be reached."""


class HubUnreachable(BaseModelMissing):
    """The Hugging Face hub did not answer, or not with a model."""


class UnsafeModel(BaseModelError):
    """The model carries something that could run code, such as a pickle or remote code."""


class IncompleteModel(BaseModelError):
    """A file that a model needs is missing, truncated, or does not fit the others."""
