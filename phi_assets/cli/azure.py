"""`phi preflight`, `phi cost` and `phi teardown`: checks, costs and removal of the resources on Azure."""

import dataclasses
import sys
from collections.abc import Sequence

from phi_assets.backends.select import build_resources
from phi_assets.cli.console import print_field, print_json, print_text, quiet, say
from phi_assets.cli.tables import Column, print_table
from phi_assets.errors import BackendError
from phi_assets.instance import home
from phi_assets.plain_text import plain_text
from phi_assets.ports.operations import Bill, Diagnosis, JobCost, Teardown, TeardownItem
from phi_assets.settings import Settings

NOTHING_TO_DELETE = (
    "nothing to delete: PHI_BACKEND=local creates no cloud resources; `phi down` stops the local servers"
)

NOTHING_TO_EXAMINE = "nothing to examine: PHI_BACKEND=local runs on this machine and uses no cloud"

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", "unseen": "yellow"}
PREFLIGHT = (
    Column("verdict", styles=COLOURS),
    Column("subject"),
    Column("found", text=True),
    Column("what to do", text=True),
)
STANDING = (Column("name"), Column("kind"), Column("what", text=True), Column("dollars a day", number=True))
JOBS = (
    Column("job"),
    Column("what", text=True),
    Column("status"),
    Column("minutes", number=True),
    Column("dollars", number=True),
)
PLAN = (Column("kind"), Column("name"), Column("remark", text=True))
LABEL = 12


def preflight(settings: Settings, *, as_json: bool) -> int:
    """Return 0 if every check ran and found no problem, else 1."""
    port = build_resources(settings).get("preflight")
    if port is None:
        if as_json:
            print_json([])
        else:
            print_text(NOTHING_TO_EXAMINE)
        return 0
    found = port.diagnose(quiet)
    lacking = summary(found)
    if as_json:
        print_json([dataclasses.asdict(each) for each in found])
        return 1 if lacking else 0
    rows = ((each.verdict, each.subject, each.description, each.remedy) for each in found)
    print_table("preflight", PREFLIGHT, rows)
    print_text(lacking or "no problem found: `phi run` can start")
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
        print_json(report)
        return 0
    if bill.portal:
        _show_bill(bill)
    else:
        print_text("\n".join(bill.notes))
    return 0


def _show_bill(bill: Bill) -> None:
    standing = ((row.name, row.kind, row.what, f"{row.dollars_a_day:.2f}") for row in bill.standing)
    print_table("what exists", STANDING, standing)
    print_table("the last jobs", JOBS, map(_job, bill.jobs))
    print_field("a day", f"{bill.dollars_a_day:.2f} dollars as it stands now", width=LABEL)
    print_field("this month", f"{bill.spent_this_month:.2f} dollars", width=LABEL)
    left = "PHI_AZURE_MONTHLY_BUDGET is not set" if bill.left is None else f"{bill.left:.2f} of {bill.budget:g} dollars"
    print_field("budget left", left, width=LABEL)
    for note in bill.notes:
        print_field("note", note, width=LABEL)
    print_field("invoice", bill.portal, width=LABEL)


def _job(job: JobCost) -> tuple[str, ...]:
    title = f"{job.title} ({job.remark})" if job.remark else job.title
    return (job.name, title, job.status, f"{job.minutes:.1f}", f"{job.dollars:.2f}")


def teardown(settings: Settings, *, everything: bool, yes: bool) -> int:
    """Return 0 when all is deleted or nothing existed, 1 without confirmation. Raises BackendError at an obstacle."""
    port: Teardown | None = build_resources(settings).get("teardown")
    if port is None:
        print_text(NOTHING_TO_DELETE)
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
            print_text("nothing was deleted")
            return 1
        kept = port.take_down(everything, log) if deleted else []
    for line in kept:
        print_field("kept", line, width=5)
    print_text(_outcome(deleted))
    return 0


def _outcome(deleted: Sequence[TeardownItem]) -> str:
    if not deleted:
        return "there was nothing to delete"
    if all(each.kind.startswith("deleted ") for each in deleted):
        names = ", ".join(f"{each.kind} {each.name}" for each in deleted)
        return f"no resource existed any more; Azure was asked to purge what it may have retained: {names}"
    return "deleted; `phi status` shows what is missing, `phi run` makes it again"


def _show_plan(title: str, rows: Sequence[TeardownItem]) -> None:
    if rows:
        print_table(title, PLAN, ((each.kind, each.name, each.remark) for each in rows))


def _confirmed(word: str) -> bool:
    """Return whether the user typed the word. Raises BackendError when stdin is empty and not a terminal."""
    if not sys.stdin.isatty():
        typed = sys.stdin.readline()
        if not typed:
            raise BackendError(description=f"no confirmation: write {word} to standard input, or pass --yes")
        return typed.strip() == word
    try:
        return input(f"type {plain_text(word)} to delete all of it: ").strip() == word
    except EOFError:  # Ctrl-D
        print()
        return False
