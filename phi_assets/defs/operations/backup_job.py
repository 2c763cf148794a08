"""Job `backup`: copy the home's databases, as `phi backup` does, each night."""

import dagster as dg

from phi_assets import databases
from phi_assets.graph import metadata_values
from phi_assets.graph.run_tags import schedule_status
from phi_assets.settings import Settings


@dg.op(
    out=dg.Out(dg.Nothing),
    description=f"Copy MLflow's and Dagster's SQLite databases; the {databases.KEPT} newest copies of each stay. "
    "Fails when one is damaged, with the remedy.",
)
def copy_databases(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    copies, damages = databases.copy_all(settings.state)
    rows = [(str(file), str(copy), f"{copy.stat().st_size / 1e6:.1f}") for file, copy in copies.items()]
    metadata = {"copies": metadata_values.table(("database", "copy", "MB"), rows)}
    if damages:
        raise dg.Failure("\n".join(map(str, damages)), metadata=metadata, allow_retries=False)
    context.add_output_metadata(metadata)


@dg.job(description="Copy MLflow's and Dagster's SQLite databases to `backups` in the home, as `phi backup` does.")
def backup() -> None:
    copy_databases()


nightly_backup = dg.ScheduleDefinition(
    name="nightly_backup",
    job=backup,
    cron_schedule="0 3 * * *",
    default_status=schedule_status(),
    description="Runs job `backup` at three each night.",
)
