"""Job `clean`: remove what the retention policy does not keep, as `phi clean` does, each night."""

from collections import Counter
from typing import Any

import dagster as dg
from pydantic import Field

from phi_assets.answer_log import AnswersUnreadable
from phi_assets.backends.select import build_resources
from phi_assets.graph import metadata_values
from phi_assets.graph.run_tags import schedule_status
from phi_assets.instance.home import Busy
from phi_assets.instance.home_clean import Removal, clean
from phi_assets.settings import Settings

SHOWN = 100  # rows of the table: the event log keeps it


class Clean(dg.Config):
    """Whether to remove, or only to show what would be removed."""

    dry_run: bool = Field(default=False, description="true: remove nothing, and show what would be removed and why")


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Remove what neither serves, nor is new, nor explains a stored answer: weights, data, runs and logs.",
)
def remove_unneeded(
    context: dg.OpExecutionContext,
    config: Clean,
    settings: dg.ResourceParam[Settings],
) -> None:
    resources = build_resources(settings)
    try:
        removed = clean(
            context.instance, settings, resources, context.log.debug, dry_run=config.dry_run, run_id=context.run_id
        )
    except Busy as e:  # the next night does it
        context.log.warning(f"nothing was removed: {e}")
        context.add_output_metadata({"not_done": str(e)})
        return
    except AnswersUnreadable as e:
        raise dg.Failure(f"nothing was removed: {e}", allow_retries=False) from e
    context.add_output_metadata(describe_removals(removed))
    failed = [each for each in removed if each.error]
    if failed:
        raise dg.Failure("\n".join(f"{each.kind} {each.name}: {each.error}" for each in failed))


def describe_removals(removed: list[Removal]) -> dict[str, Any]:
    """Return the bytes, the number of each kind, and a table of the largest removals."""
    rows = sorted(removed, key=lambda each: each.bytes, reverse=True)[:SHOWN]
    table = [(each.kind, each.name, f"{each.bytes / 1e6:.1f}", each.reason, each.error) for each in rows]
    return {
        "freed_mb": dg.MetadataValue.float(sum(each.bytes for each in removed if not each.error) / 1e6),
        "removed": dg.MetadataValue.json(dict(Counter(each.kind for each in removed if not each.error))),
        "largest": metadata_values.table(("what", "name", "MB", "why", "not removed"), table),
    }


@dg.job(
    name="clean",
    config={"ops": {"remove_unneeded": {"config": Clean().model_dump()}}},
    description="Remove what nothing needs any more, as `phi clean` does; with `dry_run` only show it.",
)
def clean_job() -> None:
    remove_unneeded()


nightly_clean = dg.ScheduleDefinition(
    name="nightly_clean",
    job=clean_job,
    cron_schedule="30 3 * * *",
    default_status=schedule_status(),
    description="Runs job `clean` at half past three each night.",
)
