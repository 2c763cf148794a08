"""`phi teardown`: shows what it would delete, asks, and deletes it."""

import sys
from collections.abc import Sequence

from rich.table import Table

from phi_assets.backends import build_resources
from phi_assets.backends.ports import BackendError, Doomed, Teardown
from phi_assets.operate import home
from phi_assets.operate.screen import console, say
from phi_assets.settings import Settings

NOTHING = "nothing to take down: PHI_BACKEND=local made nothing in a cloud; `phi down` stops what runs here"


def teardown(settings: Settings, *, everything: bool, yes: bool) -> int:
    """0 when it is gone, or nothing was there; 1 when nobody said yes."""
    port: Teardown | None = build_resources(settings).get("teardown")
    if port is None:
        print(NOTHING)
        return 0

    def log(words: str) -> None:
        say("teardown", words)

    with home.only_one(settings, "run"):
        plan = port.plan(everything, log)
        if plan:
            _show(plan)
        if plan and not yes and not _confirmed(port.confirmation):
            console.print("nothing was deleted")
            return 1
        # Also without a plan: of what was deleted Azure may still keep the name.
        kept = port.take_down(everything, log) if plan or everything else []
    for line in kept:
        console.print(f"kept  {line}", markup=False)
    console.print(
        "it is gone; `phi status` says what is missing, `phi run` makes it again" if plan else "nothing was there"
    )
    return 0


def _show(plan: Sequence[Doomed]) -> None:
    table = Table(title="to be deleted, in this order", title_justify="left")
    for column in ("kind", "name", "remark"):
        table.add_column(column, overflow="fold")
    for each in plan:
        table.add_row(each.kind, each.name, each.remark)
    console.print(table)


def _confirmed(word: str) -> bool:
    """Raises BackendError where there is nobody to ask."""
    if not sys.stdin.isatty():
        typed = sys.stdin.readline()
        if not typed:
            raise BackendError(description=f"nobody to ask: type {word} into its input, or say --yes")
        return typed.strip() == word
    return input(f"type {word} to delete all of it: ").strip() == word
