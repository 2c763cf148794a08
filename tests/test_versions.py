"""The table of what each asset reads, held against the source trees and the settings."""

import shutil
from pathlib import Path

import pytest

from phi_assets import versions
from phi_assets.definitions import definitions
from phi_assets.settings import PROJECT, Settings, read

# Source that no asset executes, or that cannot change what an asset makes.
OUTSIDE = {
    "phi_assets/__init__.py": "empty",
    "phi_assets/beta.py": "how definitions are declared",
    "phi_assets/cli.py": "starts runs",
    "phi_assets/definitions.py": "collects definitions",
    "phi_assets/gates.py": "decides whether an asset runs",
    "phi_assets/operate": "starts and follows runs",
    "phi_assets/owners.py": "labels",
    "phi_assets/record_io.py": "keeps records",
    "phi_assets/records.py": "shape of records",
    "phi_assets/settings.py": "the settings' values count, each where it is read",
    "phi_assets/shown.py": "how metadata looks",
    "phi_assets/staleness.py": "decides what is run",
    "phi_assets/versions.py": "this table",
    "phi_assets/backends/__init__.py": "chooses resources",
    "phi_assets/backends/ports.py": "abstract",
    "phi_assets/backends/local/__init__.py": "empty",
    "phi_assets/backends/local/resources.py": "hands settings to resources; their values count",
    "phi_assets/backends/local/shelf.py": "where things are kept",
    "phi_assets/defs/__init__.py": "empty",
    "phi_assets/defs/operations": "jobs and watches",
}

ASSETS_OF_TREE = {
    "training_code": {"fine_tuned_model"},
    "evaluation_code": {"model_evaluation", "chat_flow_evaluation"},
    "serving_code": {"model_evaluation", "online_deployment"},
    "flows/chat": {"chat_flow", "chat_flow_evaluation"},
    "flows/evaluation": {"chat_flow_evaluation"},
    "phi_assets/conversations": {"chat_dataset"},
    "phi_assets/base_models": {"base_model"},
    "phi_assets/prompt_flow": {"endpoint_connection", "chat_flow", "chat_flow_evaluation"},
    "phi_assets/promotion.py": {"model_evaluation"},
    "phi_assets/scoring.py": {"online_deployment"},
    "phi_assets/defs/infrastructure": {"ml_workspace", "training_compute", "training_environment"},
    "phi_assets/defs/dataset": {"chat_dataset"},
    "phi_assets/defs/training": {"fine_tuned_model"},
    "phi_assets/defs/evaluation": {"model_evaluation", "registered_model"},
    "phi_assets/defs/serving": {"online_endpoint", "online_deployment"},
    "phi_assets/defs/chat": {"endpoint_connection", "chat_flow", "chat_flow_evaluation"},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the source that can be changed."""
    for tree in ("phi_assets", "training_code", "evaluation_code", "serving_code", "flows"):
        shutil.copytree(PROJECT / tree, tmp_path / tree, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "README.md", tmp_path)
    return tmp_path


def all_versions(project: Path, settings: Settings | None = None) -> dict[str, str]:
    versions.tree_digest.cache_clear()
    return {asset: versions.of(asset, settings or read({}), project) for asset in versions.READS}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {asset for asset in before if before[asset] != after[asset]}


def test_the_table_names_every_asset_and_nothing_else():
    keys = {key.to_user_string() for key in definitions().resolve_asset_graph().get_all_asset_keys()}

    assert set(versions.READS) == keys


def test_every_source_is_read_by_an_asset_or_stands_outside_with_a_reason():
    read_by_assets = {tree for reads in versions.READS.values() for tree in reads.source}
    claimed = read_by_assets | set(OUTSIDE)
    sources = [
        path
        for tree in ("phi_assets", "training_code", "evaluation_code", "serving_code", "flows")
        for path in (PROJECT / tree).rglob("*.py")
    ]
    names = [path.relative_to(PROJECT).as_posix() for path in sources if "__pycache__" not in path.parts]

    assert [name for name in names if not any(name == c or name.startswith(f"{c}/") for c in claimed)] == []
    assert [tree for tree in read_by_assets if not (PROJECT / tree).exists()] == []


@pytest.mark.parametrize("tree", sorted(ASSETS_OF_TREE))
def test_a_comment_in_a_source_tree_changes_its_assets_only(tree, project):
    before = all_versions(project)
    path = project / tree
    source = path if path.is_file() else sorted(path.rglob("*.py"))[-1]

    source.write_text(source.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")

    expected = ASSETS_OF_TREE[tree]
    assert changed(before, all_versions(project)) >= expected
    extra = changed(before, all_versions(project)) - expected
    assert extra <= ({"raw_conversations", "evaluation_questions"}), extra


def test_a_changed_readme_changes_nothing(project):
    before = all_versions(project)

    (project / "README.md").write_text("another", encoding="utf-8")

    assert changed(before, all_versions(project)) == set()


OTHER_VALUES = {
    "dataset": ("other.jsonl", {"raw_conversations", "chat_dataset"}),
    "columns": ("role=speaker", {"chat_dataset"}),
    "validation_share": ("0.2", {"chat_dataset"}),
    "test_share": ("0.2", {"chat_dataset"}),
    "near_duplicate_threshold": ("0.5", {"chat_dataset"}),
    "personal_data": ("drop", {"chat_dataset"}),
    "max_conversation_characters": ("500", {"chat_dataset"}),
    "max_broken_share": ("0.5", {"chat_dataset"}),
    "min_rows": ("5", {"chat_dataset"}),
    "base_model": ("hf:microsoft/Phi-4-mini-instruct", {"base_model"}),
    "preset": ("phi35-lora", {"fine_tuned_model"}),
    "evaluation_questions": ("none", {"evaluation_questions", "model_evaluation", "chat_flow_evaluation"}),
    "promote_on_insufficient_evidence": ("true", {"model_evaluation"}),
    "min_flow_share_right": ("0.9", {"chat_flow_evaluation"}),
}


def test_every_setting_is_read_by_an_asset_or_has_a_reason_not_to_be():
    assert set(OTHER_VALUES) | set(versions.NO_VERSION) == set(Settings.model_fields)
    assert set(OTHER_VALUES) & set(versions.NO_VERSION) == set()


@pytest.mark.parametrize("setting", sorted(OTHER_VALUES))
def test_another_value_of_a_setting_changes_the_assets_that_read_it_only(setting):
    value, expected = OTHER_VALUES[setting]

    after = all_versions(PROJECT, read({f"PHI_{setting.upper()}": value}))

    assert changed(all_versions(PROJECT), after) == expected


@pytest.mark.parametrize("setting", sorted(versions.NO_VERSION))
def test_a_setting_without_a_version_changes_nothing(setting):
    other = {"backend": "azure", "home": "/elsewhere"}.get(setting, "7")

    after = all_versions(PROJECT, read({f"PHI_{setting.upper()}": other}))

    assert changed(all_versions(PROJECT), after) == set()
