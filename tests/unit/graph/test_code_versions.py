"""The table of code versions, `READS`: it names every asset, every source that decides a result, and every setting."""

import ast
from pathlib import Path

from phi_assets.graph import code_versions
from phi_assets.settings import PROJECT, Settings
from tests.support.graph_facts import BACKENDS, facts_of

PROGRAMS = ("dataset_code", "training_code", "evaluation_code", "serving_code", "flows")

# Sources of phi_assets that no asset executes, or that cannot change an asset's result, by reason.
OUTSIDE = {
    "starts, schedules and judges runs": (
        "cli",
        "definitions.py",
        "graph",
        "instance",
        "backends/select.py",
        "backends/azure/resources.py",
        "backends/local/resources.py",
        "defs/operations",
        "defs/dataset/automation.py",
        "defs/dataset/sensors.py",
        "defs/training/sensors.py",
        "models/retraining_policy.py",
    ),
    "checks and metadata, which run with their asset": tuple(
        f"defs/infrastructure/{name}.py" for name in ("checks", "live_checks", "metadata")
    ),
    "reports, or records what was made": (
        "answer_log.py",
        "lineage",
        "models/experiments.py",
        "notifications",
        "backends/azure/operations",
        "backends/azure/training/tracking.py",
        "backends/local/training/tracking.py",
    ),
    "types and helpers": (
        *("errors.py", "files.py", "outcome.py", "ports", "records.py", "redaction.py", "sqlite_cache.py"),
        "settings.py",  # a setting's value counts for the assets that read it
        "backends/content_store.py",
    ),
    "calls Azure, and waits": (
        "backends/azure/client",
        "backends/azure/storage/blob.py",
        "backends/azure/serving/lease.py",
        *(f"backends/azure/jobs/{name}.py" for name in ("blob_pipes", "cloud_jobs", "job_errors", "logs", "watch")),
        *(
            f"backends/azure/infrastructure/{name}.py"
            for name in ("deleted_vaults", "deployment_run", "ownership", "providers", "quota_request")
        ),
    ),
}


def test_the_table_names_every_asset_and_nothing_else():
    everywhere = {name for backend in BACKENDS for name in facts_of(backend)["graph"]["assets"]}

    assert set(code_versions.READS) == everywhere


def test_every_setting_is_read_by_an_asset_or_has_a_reason_not_to_be():
    used = {name for backend in BACKENDS for reads in code_versions.READS.values() for name in reads.values(backend)}

    # It is a part of the cost that gpu_quota limits, and does not change what a training makes.
    assert used & set(code_versions.NO_VERSION) == {"max_train_minutes"}
    assert used | set(code_versions.NO_VERSION) == set(Settings.model_fields)


def within(name: str, trees: set[str]) -> bool:
    return any(name == tree or name.startswith(f"{tree}/") for tree in trees)


def holds_code(path: Path) -> bool:
    """Return whether a module has more than a docstring."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text(encoding="utf-8")).body)


def test_every_source_is_read_by_an_asset_or_is_outside_with_a_reason():
    used = {tree for backend in BACKENDS for reads in code_versions.READS.values() for tree in reads.files(backend)}
    outside = {f"phi_assets/{name}" for names in OUTSIDE.values() for name in names}
    paths = [path for tree in ("phi_assets", *PROGRAMS) for path in (PROJECT / tree).rglob("*.py") if holds_code(path)]
    names = [path.relative_to(PROJECT).as_posix() for path in paths]

    assert [name for name in names if not within(name, used | outside)] == []
    assert [name for name in names if within(name, used) and within(name, outside)] == []
    assert [tree for tree in used | outside if not (PROJECT / tree).exists()] == []
