"""Operations: retention on every backend; preflight checks, cost report and teardown of a cloud backend."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import dagster as dg

from phi_assets.models.retention_policy import Stored
from phi_assets.ports.base import Log


@dataclass(frozen=True)
class Diagnosis:
    """The result of one preflight check. A problem blocks the graph and has a remedy.

    `unseen`: the check could not run yet.
    """

    subject: str
    verdict: Literal["ok", "warning", "problem", "unseen"]
    description: str
    remedy: str = ""


class Preflight(dg.ConfigurableResource, ABC):
    """Checks the subscription before anything is deployed. Writes nothing."""

    @abstractmethod
    def diagnose(self, log: Log) -> list[Diagnosis]:
        """Run all checks, also after one of them fails."""


@dataclass(frozen=True)
class Standing:
    """An existing resource, and its current cost in US dollars a day."""

    name: str
    kind: str
    what: str
    dollars_a_day: float


@dataclass(frozen=True)
class JobCost:
    """A job, its minutes of compute, and their cost in US dollars. `ended` is False while it runs.

    A number that is not known is 0, and `remark` says why.
    """

    name: str
    title: str
    status: str
    started: str
    minutes: float
    dollars: float
    ended: bool
    remark: str = ""


@dataclass(frozen=True)
class Bill:
    """Resources and jobs, priced from a dated table. `budget` is for a month, in US dollars; None if not set."""

    standing: tuple[Standing, ...]
    jobs: tuple[JobCost, ...]
    spent_this_month: float
    budget: float | None
    notes: tuple[str, ...]
    portal: str

    @property
    def dollars_a_day(self) -> float:
        return round(sum(row.dollars_a_day for row in self.standing), 2)

    @property
    def left(self) -> float | None:
        """Return the rest of the month's budget; negative if it is overspent."""
        return None if self.budget is None else round(self.budget - self.spent_this_month, 2)


class CostReport(dg.ConfigurableResource, ABC):
    """Reports costs."""

    @abstractmethod
    def measure(self, log: Log) -> Bill:
        """Return the cost of all existing resources and of the last jobs, and the budget."""


TeardownAction = Literal["delete", "keep", "block"]


@dataclass(frozen=True)
class TeardownItem:
    """A resource that a teardown deletes, keeps, or is blocked by."""

    kind: str
    name: str
    address: str
    remark: str = ""
    action: TeardownAction = "delete"


class Teardown(dg.ConfigurableResource, ABC):
    """Deletes what the graph created."""

    @property
    @abstractmethod
    def confirmation(self) -> str:
        """The text that a user types to confirm."""

    @abstractmethod
    def plan(self, everything: bool, log: Log) -> list[TeardownItem]:
        """Return what a teardown would delete, in that order, and what it would keep. Writes nothing.

        By default it deletes what costs money while idle; with `everything`, all resources. Raises BackendError if the
        backend refuses teardowns.
        """

    def obstacle(self, plan: list[TeardownItem]) -> str:
        """Return why the plan must not be executed, with the remedy; empty if it may be."""
        del plan
        return ""

    @abstractmethod
    def take_down(self, everything: bool, log: Log) -> list[str]:
        """Delete what the plan names. Return a line, with the reason, for each resource that could not be purged.

        Raises BackendError, before anything is deleted, if an item of the plan blocks it.
        """


class Retention(dg.ConfigurableResource, ABC):
    """Lists what the backend stores for the graph, and removes single things of that list."""

    @abstractmethod
    def stored(self, log: Log) -> list[Stored]:
        """Return everything that a clean may remove."""

    @abstractmethod
    def remove(self, stored: Stored) -> None:
        """Remove it, so that a crash at any moment leaves it whole or gone, never half.

        Of a model's `weights`, the record, the report and the card stay.
        """

    @abstractmethod
    def sweep(self) -> None:
        """Finish removals that a crash interrupted."""
