"""`phi clean`: removes what nothing needs any more, and shows what and why."""

import dataclasses

from phi_assets.backends.select import build_resources
from phi_assets.cli.console import print_json, print_text, quiet
from phi_assets.cli.tables import Column, print_table
from phi_assets.instance import home
from phi_assets.instance.home_clean import Removal, clean
from phi_assets.settings import Settings

REMOVALS = (
    Column("what"),
    Column("name"),
    Column("MB", number=True),
    Column("why", text=True),
    Column("not removed", text=True),
)


def clean_home(settings: Settings, *, dry_run: bool, as_json: bool) -> int:
    """Return 0 when all is removed or there was nothing, 1 when something could not be removed."""
    with home.instance(settings) as instance:
        removals = clean(instance, settings, build_resources(settings), quiet, dry_run=dry_run)
    if as_json:
        print_json([dataclasses.asdict(each) for each in removals])
    else:
        _show(removals, dry_run=dry_run)
    return 1 if any(each.error for each in removals) else 0


def _show(removals: list[Removal], *, dry_run: bool) -> None:
    if removals:
        print_table("would be removed" if dry_run else "removed", REMOVALS, map(_row, removals))
    size = sum(each.bytes for each in removals if not each.error) / 1e6
    if not removals:
        print_text("there is nothing to remove; PHI_KEEP_MODELS, PHI_KEEP_DAYS and PHI_KEEP_QUIET_DAYS decide")
    elif dry_run:
        print_text(f"{size:,.1f} MB would be freed; `phi clean` removes it")
    else:
        print_text(f"{size:,.1f} MB freed")


def _row(each: Removal) -> tuple[str, ...]:
    return (each.kind, each.name, f"{each.bytes / 1e6:,.1f}", each.reason, each.error)
