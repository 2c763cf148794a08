"""`phi models`: every registered version, where it stands, and what it scored."""

import dataclasses
import json

from rich.table import Table
from rich.text import Text

from phi_assets.backends.select import build_resources
from phi_assets.cli.console import console
from phi_assets.models.champions import Version
from phi_assets.settings import Settings

COLUMNS = ("version", "state", "model", "dataset", "questions right", "bits per byte", "promoted", "withdrawn")


def show(settings: Settings, *, as_json: bool) -> int:
    """0, also when nothing is registered yet."""
    versions: list[Version] = build_resources(settings)["registry"].versions()
    if as_json:
        print(json.dumps([dataclasses.asdict(each) for each in versions], ensure_ascii=False, indent=2))
    elif not versions:
        print("no model is registered yet; `phi run` makes one")
    else:
        table = Table(title="registered models", title_justify="left")
        for column in COLUMNS:
            table.add_column(column, overflow="fold")
        for each in versions:
            table.add_row(*(Text(cell) for cell in _row(each)))
        console.print(table)
    return 0


def _row(each: Version) -> tuple[str, ...]:
    return (
        each.number,
        each.state,
        each.model.model_digest[:12],
        each.model.dataset_digest[:12],
        each.questions_right or "not known",
        "not known" if each.bits_per_byte is None else f"{each.bits_per_byte:.3f}",
        f"{each.promoted_at[:16]} {each.promoted}",
        f"{each.withdrawn_at[:16]} {each.withdrawn}".strip(),
    )
