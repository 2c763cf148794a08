"""A copy of the project to which a test adds definitions of its own, as a user would."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from phi_assets.project import PROJECT

LINKED = (
    "chat_code",
    "training_code",
    "serving_code",
    "evaluation_code",
    "dataset_code",
    "export_code",
    "quantization_code",
    "flows",
    "infra",
    "data",
    "requirements",
)

OWN = """
import dagster as dg


@dg.asset(deps=["chat_dataset"])
def word_count(context: dg.AssetExecutionContext) -> dict[str, int]:
    return {"words": 3}


@dg.asset
def longest(word_count: dict[str, int]) -> int:
    return max(word_count.values())


@dg.asset_check(asset=word_count)
def some_words(word_count: dict[str, int]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=word_count["words"] > 0)


count_words = dg.define_asset_job("count_words", selection=["word_count"])
nightly = dg.ScheduleDefinition(job=count_words, cron_schedule="0 3 * * *", name="nightly")


@dg.sensor(job=count_words)
def now_and_then(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    return dg.SkipReason("not now")


@dg.asset(key_prefix=["team", "reports"])
def weekly(longest: int) -> set[int]:
    return {longest}


@dg.multi_asset(specs=[dg.AssetSpec("left", deps=["word_count"]), dg.AssetSpec("right")], can_subset=True)
def sides(context: dg.AssetExecutionContext):
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key)


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["one", "two"]), deps=[dg.AssetSpec("made_elsewhere")])
def in_parts(context: dg.AssetExecutionContext) -> str:
    return context.partition_key


class Greeting(dg.Component, dg.Model, dg.Resolvable):
    name: str

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        @dg.asset(name=self.name)
        def greeting() -> str:
            return f"hello from {self.name}"

        return dg.Definitions(assets=[greeting])
"""


MADE = {"word_count", "longest", "team/reports/weekly", "left", "right", "greeting_of_a_component"}
"""Its assets that `phi run` makes."""

OBSERVED = {"in_parts", "made_elsewhere"}
"""Its assets that `phi run` does not make: partitions, and what another system makes."""


def with_own_definitions(folder: Path) -> Path:
    """Copy the project to `folder`, with an asset, a check, a job, a schedule, a sensor and a component more."""
    shutil.copytree(PROJECT / "phi_assets", folder / "phi_assets", ignore=shutil.ignore_patterns("__pycache__"))
    for name in LINKED:
        (folder / name).symlink_to(PROJECT / name)
    for name in ("dg.toml", "pyproject.toml", "dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, folder)
    mine = folder / "phi_assets" / "defs" / "mine"
    (mine / "greeting").mkdir(parents=True)
    (mine / "__init__.py").touch()
    (mine / "own.py").write_text(OWN, encoding="utf-8")
    component = "type: phi_assets.defs.mine.own.Greeting\nattributes:\n  name: greeting_of_a_component\n"
    (mine / "greeting" / "defs.yaml").write_text(component, encoding="utf-8")
    return folder


def run_in(project: Path, *command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python ...` with the modules of the copy."""
    given = {**os.environ, **(environment or {}), "PYTHONPATH": str(project)}
    return subprocess.run(
        [sys.executable, *command], cwd=project, env=given, capture_output=True, text=True, check=False
    )
