"""`phi cost`: what stands in the cloud and costs, what the last jobs cost, and what is left of the budget."""

import dataclasses
import json

from rich.table import Table
from rich.text import Text

from phi_assets.backends.select import build_resources
from phi_assets.cli.console import console, quiet
from phi_assets.ports.operations import Bill
from phi_assets.settings import Settings

NOTHING = "nothing to pay: PHI_BACKEND=local runs on this machine, and rents none"
FREE = Bill(standing=(), jobs=(), spent_this_month=0.0, budget=None, notes=(NOTHING,), portal="")


def cost(settings: Settings, *, as_json: bool) -> int:
    """0, also when the budget is spent: it is a report."""
    port = build_resources(settings).get("cost_report")
    bill: Bill = port.measure(quiet) if port else FREE
    if as_json:
        told = {**dataclasses.asdict(bill), "dollars_a_day": bill.dollars_a_day, "left": bill.left}
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return 0
    if port:
        _show(bill)
    else:
        print(NOTHING)
    return 0


def _show(bill: Bill) -> None:
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
