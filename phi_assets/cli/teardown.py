"""`phi teardown`: shows what it would delete, asks, and deletes it."""

import sys
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from phi_assets.backends.select import build_resources
from phi_assets.cli.console import console, say
from phi_assets.errors import BackendError
from phi_assets.instance import home
from phi_assets.ports.operations import Doomed, Teardown
from phi_assets.settings import Settings

NOTHING = "nothing to take down: PHI_BACKEND=local made nothing in a cloud; `phi down` stops what runs here"


def teardown(settings: Settings, *, everything: bool, yes: bool) -> int:
    """0 when it is gone, or nothing was there; 1 when nobody said yes, or something forbids it."""
    port: Teardown | None = build_resources(settings).get("teardown")
    if port is None:
        print(NOTHING)
        return 0

    def log(words: str) -> None:
        say("teardown", words)

    with home.only_one(settings, "run", "teardown"):
        plan = port.plan(everything, log)
        going = [each for each in plan if each.fate == "goes"]
        _show("to be deleted, in this order", going)
        _show("not to be deleted", [each for each in plan if each.fate != "goes"])
        obstacle = port.obstacle(plan)
        if obstacle:
            raise BackendError(description=f"nothing was deleted: {obstacle}")
        if going and not yes and not _confirmed(port.confirmation):
            console.print("nothing was deleted")
            return 1
        kept = port.take_down(everything, log) if going else []
    for line in kept:
        console.print(f"kept  {line}", markup=False)
    console.print(_outcome(going), markup=False)
    return 0


def _outcome(going: Sequence[Doomed]) -> str:
    if not going:
        return "nothing was there to be deleted"
    if all(each.kind.startswith("deleted ") for each in going):
        names = ", ".join(f"{each.kind} {each.name}" for each in going)
        return f"nothing stood any more; Azure was asked to end what it may have kept: {names}"
    return "it is gone; `phi status` says what is missing, `phi run` makes it again"


def _show(title: str, rows: Sequence[Doomed]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for column in ("kind", "name", "remark"):
        table.add_column(column, overflow="fold")
    for each in rows:
        table.add_row(Text(each.kind), Text(each.name), Text(each.remark))
    console.print(table)


def _confirmed(word: str) -> bool:
    """Raises BackendError where there is nobody to ask."""
    if not sys.stdin.isatty():
        typed = sys.stdin.readline()
        if not typed:
            raise BackendError(description=f"nobody to ask: type {word} into its input, or say --yes")
        return typed.strip() == word
    try:
        return input(f"type {word} to delete all of it: ").strip() == word
    except EOFError:  # Ctrl-D
        print()
        return False
