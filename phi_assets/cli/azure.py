"""`phi preflight`, `phi cost` and `phi teardown`: checks, costs and removal of the resources on Azure."""

import dataclasses
import json
import sys
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from phi_assets.backends.select import build_resources
from phi_assets.cli.console import console, quiet, say
from phi_assets.errors import BackendError
from phi_assets.instance import home
from phi_assets.ports.operations import Bill, Diagnosis, Teardown, TeardownItem
from phi_assets.settings import Settings

NOTHING_TO_DELETE = (
    "nothing to delete: PHI_BACKEND=local creates no cloud resources; `phi down` stops the local servers"
)

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", "unseen": "yellow"}
NOTHING_TO_EXAMINE = "nothing to examine: PHI_BACKEND=local runs on this machine and uses no cloud"


def preflight(settings: Settings, *, as_json: bool) -> int:
    """Return 0 if every check ran and found no problem, else 1."""
    port = build_resources(settings).get("preflight")
    if port is None:
        print(json.dumps([]) if as_json else NOTHING_TO_EXAMINE)
        return 0
    found = port.diagnose(quiet)
    lacking = summary(found)
    if as_json:
        print(json.dumps([dataclasses.asdict(each) for each in found], ensure_ascii=False, indent=2))
        return 1 if lacking else 0
    table = Table(title="preflight", title_justify="left")
    for column in ("verdict", "subject", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for each in found:
        verdict = Text(each.verdict, style=COLOURS[each.verdict])
        table.add_row(verdict, each.subject, Text(each.description), Text(each.remedy))
    console.print(table)
    console.print(lacking or "no problem found: `phi run` can start")
    return 1 if lacking else 0


def summary(found: Sequence[Diagnosis]) -> str:
    """Return the numbers of problems and of checks that could not run yet; empty if there are none."""
    problems = sum(each.verdict == "problem" for each in found)
    unseen = sum(each.verdict == "unseen" for each in found)
    parts = [f"{problems} to fix first"] if problems else []
    if unseen:
        first = "fix the problems above" if problems else "register the providers above"
        parts.append(f"{unseen} could not be checked yet: {first}, and check again")
    return "; ".join(parts)


def cost(settings: Settings, *, as_json: bool) -> int:
    """Print the costs and return 0, also when the budget is spent: this is a report."""
    bill: Bill = build_resources(settings)["cost_report"].measure(quiet)
    if as_json:
        report = {**dataclasses.asdict(bill), "dollars_a_day": bill.dollars_a_day, "left": bill.left}
        print(json.dumps(report, ensure_ascii=False, indent=2))
        return 0
    if bill.portal:
        _show_bill(bill)
    else:
        print("\n".join(bill.notes))
    return 0


def _show_bill(bill: Bill) -> None:
    standing = Table(title="what exists", title_justify="left")
    for column in ("name", "kind", "what", "dollars a day"):
        standing.add_column(column, overflow="fold", justify="right" if column == "dollars a day" else "left")
    for row in bill.standing:
        standing.add_row(Text(row.name), Text(row.kind), Text(row.what), f"{row.dollars_a_day:.2f}")
    console.print(standing)
    jobs = Table(title="the last jobs", title_justify="left")
    for column in ("job", "what", "status", "minutes", "dollars"):
        jobs.add_column(column, overflow="fold", justify="right" if column in ("minutes", "dollars") else "left")
    for job in bill.jobs:
        title = f"{job.title} ({job.remark})" if job.remark else job.title
        jobs.add_row(Text(job.name), Text(title), Text(job.status), f"{job.minutes:.1f}", f"{job.dollars:.2f}")
    console.print(jobs)
    console.print(f"a day        {bill.dollars_a_day:.2f} dollars as it stands now")
    console.print(f"this month   {bill.spent_this_month:.2f} dollars")
    left = "PHI_AZURE_MONTHLY_BUDGET is not set" if bill.left is None else f"{bill.left:.2f} of {bill.budget:g} dollars"
    console.print(f"budget left  {left}")
    for note in bill.notes:
        console.print(f"note         {note}", markup=False)
    console.print(f"invoice      {bill.portal}", markup=False)


def teardown(settings: Settings, *, everything: bool, yes: bool) -> int:
    """Return 0 when all is deleted or nothing existed, 1 without confirmation. Raises BackendError at an obstacle."""
    port: Teardown | None = build_resources(settings).get("teardown")
    if port is None:
        print(NOTHING_TO_DELETE)
        return 0

    def log(words: str) -> None:
        say("teardown", words)

    with home.only_one(settings, "run", "teardown"):
        plan = port.plan(everything, log)
        deleted = [each for each in plan if each.action == "delete"]
        _show_plan("to be deleted, in this order", deleted)
        _show_plan("not to be deleted", [each for each in plan if each.action != "delete"])
        obstacle = port.obstacle(plan)
        if obstacle:
            raise BackendError(description=f"nothing was deleted: {obstacle}")
        if deleted and not yes and not _confirmed(port.confirmation):
            console.print("nothing was deleted")
            return 1
        kept = port.take_down(everything, log) if deleted else []
    for line in kept:
        console.print(f"kept  {line}", markup=False)
    console.print(_outcome(deleted), markup=False)
    return 0


def _outcome(deleted: Sequence[TeardownItem]) -> str:
    if not deleted:
        return "there was nothing to delete"
    if all(each.kind.startswith("deleted ") for each in deleted):
        names = ", ".join(f"{each.kind} {each.name}" for each in deleted)
        return f"no resource existed any more; Azure was asked to purge what it may have retained: {names}"
    return "deleted; `phi status` shows what is missing, `phi run` makes it again"


def _show_plan(title: str, rows: Sequence[TeardownItem]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for column in ("kind", "name", "remark"):
        table.add_column(column, overflow="fold")
    for each in rows:
        table.add_row(Text(each.kind), Text(each.name), Text(each.remark))
    console.print(table)


def _confirmed(word: str) -> bool:
    """Return whether the user typed the word. Raises BackendError when stdin is empty and not a terminal."""
    if not sys.stdin.isatty():
        typed = sys.stdin.readline()
        if not typed:
            raise BackendError(description=f"no confirmation: write {word} to standard input, or pass --yes")
        return typed.strip() == word
    try:
        return input(f"type {word} to delete all of it: ").strip() == word
    except EOFError:  # Ctrl-D
        print()
        return False
