"""Jobs `preflight`, `cost` and `teardown`: is the subscription ready, what does it cost, delete it. On Azure only."""

import dagster as dg
from pydantic import Field

from phi_assets.graph import metadata_values
from phi_assets.graph.asset_facts import ONLY_ON_AZURE
from phi_assets.ports.operations import Bill, CostReport, Diagnosis, Preflight, Teardown, TeardownItem


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Fail when something would stop the graph, or cannot be checked yet, with the remedy of each problem.",
)
def run_preflight(context: dg.OpExecutionContext, preflight: Preflight) -> None:
    found = preflight.diagnose(context.log.info)
    lacking = [each for each in found if each.verdict in ("problem", "unseen")]
    problems = sum(each.verdict == "problem" for each in found)
    metadata = {
        "diagnoses": diagnoses_table(found),
        "problems": dg.MetadataValue.int(problems),
        "unseen": dg.MetadataValue.int(len(lacking) - problems),
    }
    if lacking:
        lines = "\n".join(f"- {each.subject}: {each.description}. What to do: {each.remedy}" for each in lacking)
        raise dg.Failure(f"solve these problems before a run:\n{lines}", metadata=metadata, allow_retries=False)
    context.add_output_metadata(metadata)


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Report what exists and its cost, the cost of the last jobs, and the remaining budget.",
)
def report_costs(context: dg.OpExecutionContext, cost_report: CostReport) -> None:
    bill = cost_report.measure(context.log.info)
    left = {"budget": bill.budget, "left": bill.left} if bill.budget is not None and bill.left is not None else {}
    context.add_output_metadata(
        {
            "dollars_a_day": bill.dollars_a_day,
            "spent_this_month": bill.spent_this_month,
            **left,
            "standing": standing_table(bill),
            "jobs": jobs_table(bill),
            "notes": metadata_values.bullets(bill.notes),
            "portal": dg.MetadataValue.url(bill.portal),
        }
    )


class TeardownConfig(dg.Config):
    """The confirmation. Only the command `phi teardown --all` deletes everything."""

    confirm: str = Field(
        "", description="the value of PHI_AZURE_NAME; anything else deletes nothing and shows the plan"
    )


@dg.op(out=dg.Out(dg.Nothing), description="Delete what the plan lists, after confirmation.")
def take_down(context: dg.OpExecutionContext, config: TeardownConfig, teardown: Teardown) -> None:
    plan = teardown.plan(False, context.log.info)
    going = [each for each in plan if each.action == "delete"]
    obstacle = teardown.obstacle(plan)
    if obstacle:
        raise dg.Failure(f"nothing was deleted: {obstacle}", metadata={"plan": plan_table(plan)}, allow_retries=False)
    if going and config.confirm != teardown.confirmation:
        raise dg.Failure(
            f"nothing was deleted: to delete the {len(going)} resources of the plan, launch again with "
            f"confirm: {teardown.confirmation}",
            metadata={"plan": plan_table(plan)},
            allow_retries=False,
        )
    kept = teardown.take_down(False, context.log.info) if going else []
    stays = plan_table([each for each in plan if each.action != "delete"])
    context.add_output_metadata(
        {"deleted": plan_table(going), "not deleted": stays, "kept": "; ".join(kept) or "nothing"}
    )


def diagnoses_table(found: list[Diagnosis]) -> dg.MarkdownMetadataValue:
    rows = [(each.verdict, each.subject, each.description, each.remedy) for each in found]
    return metadata_values.table(("verdict", "subject", "description", "remedy"), rows)


def standing_table(bill: Bill) -> dg.MarkdownMetadataValue:
    rows = [(row.name, row.kind, row.what, f"{row.dollars_a_day:.2f}") for row in bill.standing]
    return metadata_values.table(("name", "kind", "what", "dollars a day"), rows)


def jobs_table(bill: Bill) -> dg.MarkdownMetadataValue:
    rows = [
        (job.name, job.title, job.status, f"{job.minutes:.1f}", f"{job.dollars:.2f}", job.remark) for job in bill.jobs
    ]
    return metadata_values.table(("job", "what", "status", "minutes", "dollars", "remark"), rows)


def plan_table(plan: list[TeardownItem]) -> dg.MarkdownMetadataValue:
    rows = [(each.kind, each.name, each.remark, each.action) for each in plan]
    return metadata_values.table(("kind", "name", "remark", "action"), rows)


@dg.job(
    metadata=ONLY_ON_AZURE,
    description="Check the subscription before the first deployment: problems and remedies. Writes nothing.",
)
def preflight() -> None:
    run_preflight()


@dg.job(
    metadata=ONLY_ON_AZURE,
    description="Report what exists in the cloud, its cost a day, the cost of the last jobs, and the remaining budget.",
)
def cost() -> None:
    report_costs()


@dg.job(
    metadata=ONLY_ON_AZURE,
    description="Delete endpoints and clusters. Without `confirm` it only shows the plan, and fails.",
)
def teardown() -> None:
    take_down()
