"""The endpoint of a home, and what it serves. Imports no Dagster, which alone takes longer than a short answer."""

from pathlib import Path

from phi_assets.answer_log import ANSWERS
from phi_assets.backends.local.serving.endpoint import LocalEndpoint
from phi_assets.records import Record, RecordUnreadable

NAME = "phi-chat"
REMEDY = "`phi run` makes it, or starts the servers again"


def endpoint_of_home(state: Path, answers_days: float = 0, traces: str = "") -> LocalEndpoint:
    """The endpoint in the home's state folder; its servers store answers for `answers_days` days."""
    return LocalEndpoint(state / "endpoints", NAME, state / ANSWERS, answers_days, traces)


def recorded_deployment(state: Path) -> Record | None:
    """The record of `online_deployment` in the home; None without one that can be read."""
    try:
        return Record.load(state / "records" / "online_deployment.json")
    except RecordUnreadable:
        return None
