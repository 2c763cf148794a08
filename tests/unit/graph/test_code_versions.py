"""The table of what each asset reads, held against the source trees and the settings."""

import ast
import shutil
from pathlib import Path

import pytest

from phi_assets import files
from phi_assets.graph import code_versions
from phi_assets.settings import PROJECT, Settings, read
from tests.support.graph_facts import AZURE, BACKENDS, facts_of

PROGRAMS = ("dataset_code", "training_code", "evaluation_code", "serving_code")

# Source that no asset executes, or that cannot change what an asset makes.
OUTSIDE = {
    "phi_assets/errors.py": "errors",
    "phi_assets/outcome.py": "shape of outcomes",
    "phi_assets/files.py": "writes and digests files",
    "phi_assets/graph": "runs and judges the assets",
    "phi_assets/ports": "abstract",
    "phi_assets/backends/select.py": "chooses resources",
    "phi_assets/answer_log.py": "reads what was answered",
    "phi_assets/cli/main.py": "starts runs",
    "phi_assets/definitions.py": "collects definitions",
    "phi_assets/instance": "starts and follows runs",
    "phi_assets/models/experiments.py": "compares trainings",
    "phi_assets/conversations/sources/snapshot.py": "watches",
    "phi_assets/lineage": "tells where answers came from",
    "phi_assets/redaction.py": "masks secrets in words",
    "phi_assets/notifications": "tells of failures",
    "phi_assets/cli": "starts and follows runs",
    "phi_assets/owners.py": "labels",
    "phi_assets/records.py": "shape of records",
    "phi_assets/sqlite_cache.py": "remembers answers while nothing changes",
    "phi_assets/settings.py": "the settings' values count, each where it is read",
    "phi_assets/backends/azure/client/account.py": "where; its values count",
    "phi_assets/backends/azure/storage/blob.py": "moves bytes",
    "phi_assets/backends/azure/client/clients.py": "clients",
    "phi_assets/backends/azure/operations/costs.py": "reports costs",
    "phi_assets/backends/azure/infrastructure/deleted_vaults.py": "finds, takes back and purges a deleted vault",
    "phi_assets/backends/azure/operations/teardown.py": "deletes, and makes nothing",
    "phi_assets/backends/azure/serving/lease.py": "who comes second waits",
    "phi_assets/backends/azure/infrastructure/deployment_run.py": "follows a deployment",
    "phi_assets/backends/azure/client/azure_errors.py": "words",
    "phi_assets/backends/azure/jobs/job_errors.py": "words",
    "phi_assets/backends/azure/jobs/logs.py": "shows a job's log",
    "phi_assets/backends/azure/jobs/spec.py": "names",
    "phi_assets/backends/azure/jobs/watch.py": "follows a job",
    "phi_assets/backends/azure/jobs/cloud_jobs.py": "submits and follows a job",
    "phi_assets/backends/azure/client/rest.py": "lists what is there",
    "phi_assets/backends/azure/client/outputs.py": "keeps a deployment's outputs",
    "phi_assets/backends/azure/infrastructure/ownership.py": "tells ours from others'",
    "phi_assets/backends/azure/jobs/blob_pipes.py": "carries a job's messages",
    "phi_assets/backends/azure/client/portal_links.py": "links",
    "phi_assets/backends/azure/operations/preflight.py": "looks, and makes nothing",
    "phi_assets/backends/azure/operations/preflight_names.py": "looks, and makes nothing",
    "phi_assets/backends/azure/operations/preflight_account.py": "looks, and makes nothing",
    "phi_assets/backends/azure/infrastructure/providers.py": "registers providers",
    "phi_assets/backends/azure/infrastructure/quota_request.py": "asks for quota",
    "phi_assets/backends/azure/resources.py": "hands settings to resources; their values count",
    "phi_assets/backends/azure/operations/retirements.py": "what Azure retires; looked at, never made",
    "phi_assets/backends/azure/client/retry.py": "asks again",
    "phi_assets/backends/azure/client/role_delay.py": "waits for roles",
    "phi_assets/backends/azure/client/credential.py": "signs in",
    "phi_assets/backends/azure/training/tracking.py": "notes what was trained",
    "phi_assets/backends/azure/client/names.py": "the template's own names",
    "phi_assets/backends/azure/infrastructure/deployment.py": "forecasts a deployment",
    "phi_assets/backends/local/resources.py": "hands settings to resources; their values count",
    "phi_assets/backends/local/training/tracking.py": "notes what was trained",
    "phi_assets/backends/content_store.py": "where things are kept",
    "phi_assets/defs/dataset/automation.py": "decides when it runs",
    "phi_assets/defs/dataset/sensors.py": "watches",
    "phi_assets/defs/infrastructure/checks.py": "a check, which runs with its asset",
    "phi_assets/defs/infrastructure/live_checks.py": "checks, which run with their assets",
    "phi_assets/defs/infrastructure/metadata.py": "how metadata looks",
    "phi_assets/defs/operations": "jobs and watches",
    "phi_assets/defs/training/sensors.py": "decides when it runs",
    "phi_assets/models/retraining_policy.py": "decides when training runs",
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
    "phi_assets/models/promotion_rules.py": {"model_evaluation"},
    "phi_assets/models/recipes.py": {"fine_tuned_model"},
    "phi_assets/endpoint_client.py": {"online_deployment"},
    "phi_assets/defs/infrastructure/assets.py": {"ml_workspace", "training_compute", "training_environment"},
    "phi_assets/defs/dataset/assets.py": {"chat_dataset"},
    "phi_assets/defs/training/assets.py": {"fine_tuned_model"},
    "phi_assets/defs/evaluation": {"model_evaluation", "registered_model"},
    "phi_assets/model_card": {"model_card"},
    "phi_assets/defs/serving": {"online_endpoint", "online_deployment"},
    "phi_assets/defs/chat": {"endpoint_connection", "chat_flow", "chat_flow_evaluation"},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the source that can be changed."""
    for tree in (*PROGRAMS, "phi_assets", "flows", "infra"):
        shutil.copytree(PROJECT / tree, tmp_path / tree, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "README.md", tmp_path)
    return tmp_path


def all_versions(project: Path, settings: Settings | None = None) -> dict[str, str]:
    files.tree_sha256.cache_clear()
    chosen = settings or read({})
    return {asset: code_versions.of(asset, chosen, project) for asset in facts_of(chosen.backend)["graph"]["assets"]}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {asset for asset in before if before[asset] != after[asset]}


def holds_code(path: Path) -> bool:
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text(encoding="utf-8")).body)


def test_the_table_names_every_asset_and_nothing_else():
    everywhere = {name for backend in BACKENDS for name in facts_of(backend)["graph"]["assets"]}

    assert set(code_versions.READS) == everywhere


def test_every_source_is_read_by_an_asset_or_stands_outside_with_a_reason():
    read_by_assets = {
        tree for backend in BACKENDS for reads in code_versions.READS.values() for tree in reads.files(backend)
    }
    claimed = read_by_assets | set(OUTSIDE)
    sources = [path for tree in (*PROGRAMS, "phi_assets", "flows") for path in (PROJECT / tree).rglob("*.py")]
    names = [path.relative_to(PROJECT).as_posix() for path in sources if holds_code(path)]

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


AZURE_TREES = {
    "infra": set(code_versions.DEPLOYED_ASSETS),
    "phi_assets/bicep_template.py": set(code_versions.DEPLOYED_ASSETS),
    "phi_assets/defs/infrastructure/azure_resources.py": set(code_versions.DEPLOYED_ASSETS),
    "phi_assets/defs/infrastructure/gpu_quota.py": {"gpu_quota"},
    "phi_assets/backends/azure/infrastructure/compute.py": {"training_compute"},
    "phi_assets/backends/azure/infrastructure/training_environment.py": {"training_environment"},
    "phi_assets/backends/azure/infrastructure/prices.py": {"gpu_quota"},
    "phi_assets/backends/azure/training/trainer.py": {"fine_tuned_model"},
    "phi_assets/backends/local/training/trainer.py": set(),
    "dataset_code/read_hub.py": {"chat_dataset"},
    # What is evaluated is the server, never the image that it stands in.
    "serving_code/environment/Dockerfile": {"online_deployment"},
}


@pytest.mark.parametrize("tree", sorted(AZURE_TREES))
def test_a_change_of_a_source_changes_its_assets_only_on_azure(tree, project):
    before = all_versions(project, read(AZURE))
    path = project / tree
    source = path if path.is_file() else path / "main.json"

    source.write_text(source.read_text(encoding="utf-8") + "\n", encoding="utf-8")

    assert changed(before, all_versions(project, read(AZURE))) == AZURE_TREES[tree]


@pytest.mark.parametrize(
    "source",
    ["infra/main.json", "phi_assets/backends/azure/training/trainer.py", "serving_code/environment/Dockerfile"],
)
def test_what_only_azure_reads_changes_nothing_on_a_laptop(source, project):
    before = all_versions(project)

    with (project / source).open("a", encoding="utf-8") as handle:
        handle.write("\n")

    assert changed(before, all_versions(project)) == set()


OTHER_VALUES = {
    "dataset_license": ("mit", {"model_card"}),
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


# Flows are in the home, and follow their connection.
ELSEWHERE = {"raw_conversations", "evaluation_questions", "gpu_quota", "chat_flow", "chat_flow_evaluation"}
ON_THE_PLACE = {*facts_of("azure")["graph"]["assets"]} - ELSEWHERE
OTHER_AZURE_VALUES = {
    "azure_subscription_id": ("00000000-0000-0000-0000-0000000000bb", {*ON_THE_PLACE, "gpu_quota"}),
    "azure_location": ("westeurope", {*ON_THE_PLACE, "gpu_quota"}),
    "azure_name": ("another", ON_THE_PLACE),
    "azure_access_mode": ("guide", set(code_versions.DEPLOYED_ASSETS)),
    "azure_purge_protection": ("true", set(code_versions.DEPLOYED_ASSETS)),
    "azure_vm_size": ("Standard_E16s_v3", {"gpu_quota", "training_compute"}),
    "azure_nodes": ("2", {"gpu_quota", "training_compute"}),
    "azure_idle_minutes": ("9", {"gpu_quota", "training_compute"}),
    "azure_max_job_cost": ("9", {"gpu_quota"}),
    "azure_request_quota": ("true", {"gpu_quota"}),
    "azure_endpoint_vm_size": ("Standard_E8s_v3", {"gpu_quota", "online_deployment"}),
    "azure_endpoint_instances": ("2", {"gpu_quota", "online_deployment"}),
    "azure_endpoint_auth": ("aad_token", {"online_endpoint"}),
    "azure_endpoint_concurrency": ("9", {"online_deployment"}),
    "azure_request_seconds": ("60", {"online_deployment"}),
    "max_train_minutes": ("9", {"gpu_quota"}),
    "preset": ("phi4-mini-lora", {"fine_tuned_model"}),
}


def test_every_setting_is_read_by_an_asset_or_has_a_reason_not_to_be():
    read_by_assets = set(OTHER_VALUES) | set(OTHER_AZURE_VALUES) - {"max_train_minutes"}

    assert read_by_assets | set(code_versions.NO_VERSION) == set(Settings.model_fields)
    assert read_by_assets & set(code_versions.NO_VERSION) == set()


@pytest.mark.parametrize("setting", sorted(OTHER_VALUES))
def test_another_value_of_a_setting_changes_the_assets_that_read_it_only(setting):
    value, expected = OTHER_VALUES[setting]

    after = all_versions(PROJECT, read({f"PHI_{setting.upper()}": value}))

    assert changed(all_versions(PROJECT), after) == expected


@pytest.mark.parametrize("setting", sorted(OTHER_AZURE_VALUES))
def test_another_value_of_a_setting_changes_the_assets_that_read_it_only_on_azure(setting):
    value, expected = OTHER_AZURE_VALUES[setting]

    after = all_versions(PROJECT, read({**AZURE, f"PHI_{setting.upper()}": value}))

    assert changed(all_versions(PROJECT, read(AZURE)), after) == expected


@pytest.mark.parametrize("setting", sorted(set(OTHER_AZURE_VALUES) - {"preset"}))
def test_a_setting_of_azure_changes_nothing_on_a_laptop(setting):
    value, _ = OTHER_AZURE_VALUES[setting]

    after = all_versions(PROJECT, read({f"PHI_{setting.upper()}": value}))

    assert changed(all_versions(PROJECT), after) == set()


VALUES_OF_NO_VERSION = {
    "home": "/elsewhere",
    "automation": "off",
    "retrain_min_drift": "0.7",
    "webhook": "https://example.org/hook",
    "webhook_format": "teams",
    "azure_read_datasets": "azure",
}


@pytest.mark.parametrize("setting", sorted(set(code_versions.NO_VERSION) - {"backend"}))
def test_a_setting_without_a_version_changes_nothing(setting):
    other = VALUES_OF_NO_VERSION.get(setting, "7")

    after = all_versions(PROJECT, read({f"PHI_{setting.upper()}": other}))

    assert changed(all_versions(PROJECT), after) == set()
