"""What looks after a place in a cloud: whether it is ready, what it costs, taking it down. Only a cloud has these."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import dagster as dg

from phi_assets.ports.base import Log


@dataclass(frozen=True)
class Diagnosis:
    """What one look at the place found: fine, worth knowing, or in the graph's way, and then what to do.

    `unseen`: it could not be looked at yet, so that it may be any of these.
    """

    subject: str
    verdict: Literal["ok", "warning", "problem", "unseen"]
    description: str
    remedy: str = ""


class Preflight(dg.ConfigurableResource, ABC):
    """Looks at the place where the graph is to run, before anything is made. Writes nothing."""

    @abstractmethod
    def look(self, log: Log) -> list[Diagnosis]:
        """Every diagnosis; one look that fails hides no other."""


@dataclass(frozen=True)
class Standing:
    """A thing that exists, and what it costs in US dollars a day as it stands now."""

    name: str
    kind: str
    what: str
    dollars_a_day: float


@dataclass(frozen=True)
class JobCost:
    """A job, its minutes on the machine, and what they cost in US dollars. `ended` is False while it runs.

    `remark` says why a number is missing; it is 0 then.
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
    """What exists and what was run, priced from a dated table; `budget` is a month's, None where none is set."""

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
        """Of the month's budget; below zero when it is overspent."""
        return None if self.budget is None else round(self.budget - self.spent_this_month, 2)


class CostReport(dg.ConfigurableResource, ABC):
    """What the place costs."""

    @abstractmethod
    def measure(self, log: Log) -> Bill:
        """What exists now, what the last jobs cost, and what is left of the budget."""


TeardownAction = Literal["delete", "keep", "block"]


@dataclass(frozen=True)
class TeardownItem:
    """A thing that a teardown deletes, or leaves alone, or must not go on because of."""

    kind: str
    name: str
    address: str
    remark: str = ""
    action: TeardownAction = "delete"


class Teardown(dg.ConfigurableResource, ABC):
    """Takes down what was made."""

    @property
    @abstractmethod
    def confirmation(self) -> str:
        """The word that a person types to say yes."""

    @abstractmethod
    def plan(self, everything: bool, log: Log) -> list[TeardownItem]:
        """What a teardown would delete, in that order: what costs money while idle, or everything; and what it would
        not. Writes nothing. Raises BackendError where it may not be asked at all.
        """

    def obstacle(self, plan: list[TeardownItem]) -> str:
        """Why a plan must not be carried out, and the remedy; empty when it may be."""
        del plan
        return ""

    @abstractmethod
    def take_down(self, everything: bool, log: Log) -> list[str]:
        """What the plan names is gone. A line for each thing that could not be deleted for good, with the reason.

        Raises BackendError, having deleted nothing, when a thing of the plan blocks it.
        """
