"""What one more line of logic in each product file makes stale, on both backends, by a table that is written by hand.

And that another form of all files makes nothing stale.
"""

import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest

from phi_assets.backends.agent_store import AGENT as ASKED_WITH
from phi_assets.graph import code_versions
from phi_assets.prompt_flow.package import TURN
from phi_assets.settings import Settings, read
from tests.support.asset_sets import (
    AGENT,
    AZURE_RESOURCES,
    CHAT,
    EVALUATIONS,
    FLOWS,
    GENERAL,
    QUESTIONS,
    REPLAY,
    REPLAY_SOURCES,
    WORKSPACE,
)
from tests.support.changed_source import copy_of_the_product, in_another_form, product_files, with_more_logic
from tests.support.graph_copy import code_of_assets
from tests.support.graph_facts import AZURE, BACKENDS

NOTHING: set[str] = set()
ENDPOINT = {"online_endpoint", "online_deployment"}
DATA = {"chat_dataset"}
APP = {"chat_app"}
FEEDBACK, RATED = {"feedback_candidates", "feedback_conversations"}, {"chat_history", "reviewed_feedback"}
READS_RAW = {"raw_conversations", "chat_dataset"}
FILES: list[tuple[str, set[str] | tuple[set[str], set[str]]]] = [
    # The last pattern that fits counts. A pair is for (laptop, Azure); a source asset is observed anew.
    ("phi_assets/**", NOTHING),
    ("phi_assets/defs/infrastructure/assets.py", WORKSPACE),
    ("phi_assets/defs/infrastructure/azure_resources.py", (NOTHING, AZURE_RESOURCES)),
    ("phi_assets/defs/infrastructure/gpu_quota.py", (NOTHING, {"gpu_quota"})),
    ("phi_assets/defs/dataset/assets.py", READS_RAW),
    ("phi_assets/defs/dataset/checks.py", DATA),
    ("phi_assets/defs/training/assets.py", {"base_model", "replay_conversations", "fine_tuned_model"}),
    ("phi_assets/defs/training/checks.py", REPLAY),
    ("phi_assets/defs/training/replay_sources.py", REPLAY_SOURCES),
    ("phi_assets/defs/training/training_config.py", {"fine_tuned_model"}),
    ("phi_assets/defs/evaluation/assets.py", {"model_evaluation", "registered_model"}),
    ("phi_assets/defs/evaluation/checks.py", {"model_evaluation"}),
    ("phi_assets/defs/evaluation/promotion_config.py", {"registered_model"}),
    ("phi_assets/defs/evaluation/questions.py", QUESTIONS | GENERAL),
    ("phi_assets/defs/evaluation/model_card.py", {"model_card"}),
    ("phi_assets/defs/serving/assets.py", ENDPOINT),
    ("phi_assets/defs/chat/assets.py", (CHAT | APP, CHAT)),
    ("phi_assets/defs/chat/feedback.py", (FEEDBACK | RATED, NOTHING)),
    ("phi_assets/defs/chat/checks.py", {"chat_flow_evaluation"}),
    ("phi_assets/defs/chat/agent.py", (AGENT, NOTHING)),
    ("phi_assets/conversations/**", DATA),
    ("phi_assets/conversations/drift.py", NOTHING),
    ("phi_assets/conversations/replay_checks.py", REPLAY),
    ("phi_assets/conversations/drift_cache.py", NOTHING),
    ("phi_assets/conversations/sources/snapshot.py", NOTHING),
    *(
        (f"phi_assets/conversations/{name}.py", (DATA, READS_RAW))
        for name in (
            "rows",
            *(f"formats/{each}" for each in ("json_lines", "file_names", "first_bytes", "arrow_files")),
            *(f"sources/{each}" for each in ("address", "complete_files")),
        )
    ),
    *(
        (f"phi_assets/conversations/sources/{name}.py", (DATA, READS_RAW))
        for name in ("feeds", "hash_cache", "hub_dataset")
    ),
    ("phi_assets/conversations/rows.py", (DATA | FEEDBACK, READS_RAW)),
    # What the chat's feedback is masked with.
    *(
        (f"phi_assets/conversations/{name}.py", (DATA | FEEDBACK, DATA))
        for name in (
            *("check_digits", "names_model", "personal_context", "personal_data", "personal_kinds", "phone_numbers"),
        )
    ),
    ("phi_assets/conversations/credentials.py", (DATA | FEEDBACK | APP, DATA)),
    ("phi_assets/conversations/feedback/*", (FEEDBACK, NOTHING)),
    ("phi_assets/conversations/feedback/tombstones.py", (DATA | FEEDBACK, DATA)),
    ("phi_assets/base_models/**", {"base_model"}),
    ("phi_assets/base_models/__init__.py", NOTHING),
    ("phi_assets/models/recipes.py", {"chat_dataset", "fine_tuned_model"}),
    ("phi_assets/models/promotion_rules.py", {"model_evaluation"}),
    (
        "phi_assets/models/champions.py",
        (
            {"ml_workspace", "model_evaluation", "registered_model", "model_card"},
            {"model_evaluation", "registered_model", "model_card"},
        ),
    ),
    ("phi_assets/model_card/**", {"model_card"}),
    ("phi_assets/markdown.py", {"model_card"}),
    ("phi_assets/plain_text.py", {"model_card"}),
    (
        "phi_assets/model_card/record.py",
        ({"ml_workspace", "registered_model", "model_card"}, {"registered_model", "model_card"}),
    ),
    ("phi_assets/endpoint_client.py", (ENDPOINT, {"online_deployment"})),
    ("phi_assets/bicep_template.py", (NOTHING, AZURE_RESOURCES)),
    ("phi_assets/prompt_flow/*", FLOWS),
    ("phi_assets/prompt_flow/retirement.py", NOTHING),
    ("phi_assets/prompt_flow/connect*.py", {"endpoint_connection"}),
    ("phi_assets/prompt_flow/child_process.py", CHAT),
    ("phi_assets/prompt_flow/environment.py", CHAT),
    ("phi_assets/prompt_flow/virtual_environment.py", CHAT),
    ("phi_assets/prompt_flow/batch_*.py", {"chat_flow_evaluation"}),
    ("phi_assets/prompt_flow/trial_child.py", {"chat_flow"}),
    ("phi_assets/backends/dataset_*.py", DATA),
    ("phi_assets/backends/row_places.py", DATA),
    ("phi_assets/backends/evaluation_reports.py", {"model_evaluation"}),
    ("phi_assets/backends/flow_store.py", FLOWS),
    ("phi_assets/backends/agent_store.py", (AGENT, NOTHING)),
    ("phi_assets/backends/local/infrastructure/provisioner.py", (WORKSPACE, NOTHING)),
    ("phi_assets/backends/local/dataset/store.py", (READS_RAW, NOTHING)),
    ("phi_assets/backends/local/training/base_model_store.py", ({"base_model"}, NOTHING)),
    ("phi_assets/backends/local/training/trainer.py", ({"fine_tuned_model"}, NOTHING)),
    ("phi_assets/backends/replay_sets.py", REPLAY),
    ("phi_assets/backends/local/training/replay_store.py", (REPLAY, NOTHING)),
    ("phi_assets/backends/azure/training/replay_store.py", (NOTHING, REPLAY)),
    (
        "phi_assets/backends/local/pipes_child.py",
        ({"replay_conversations", "fine_tuned_model", "model_evaluation"}, NOTHING),
    ),
    ("phi_assets/backends/local/module_child.py", ({"replay_conversations", "model_evaluation"}, NOTHING)),
    ("phi_assets/backends/local/evaluation/*", ({"model_evaluation"}, NOTHING)),
    ("phi_assets/backends/local/evaluation/registry.py", ({"ml_workspace", "registered_model"}, NOTHING)),
    ("phi_assets/backends/local/serving/*", (ENDPOINT, NOTHING)),
    ("phi_assets/backends/local/serving/home_endpoint.py", NOTHING),
    ("phi_assets/backends/local/serving/optimizer.py", NOTHING),  # of an asset that PHI_QUANTIZE=off leaves out
    ("phi_assets/backends/local/chat/*", ({"endpoint_connection"}, NOTHING)),
    ("phi_assets/backends/local/chat/chat_host.py", (APP, NOTHING)),
    ("phi_assets/backends/local/chat/feedback_store.py", (FEEDBACK, NOTHING)),
    ("phi_assets/backends/local/chat/still_held.py", NOTHING),
    ("phi_assets/backends/local/chat/review_page.py", NOTHING),
    ("phi_assets/backends/review_queue.py", (FEEDBACK, NOTHING)),
    ("phi_assets/backends/azure/infrastructure/cloud_resources.py", (NOTHING, AZURE_RESOURCES)),
    ("phi_assets/backends/azure/infrastructure/deployment.py", (NOTHING, AZURE_RESOURCES)),
    ("phi_assets/backends/azure/infrastructure/live_state.py", (NOTHING, AZURE_RESOURCES)),
    ("phi_assets/backends/azure/infrastructure/quota.py", (NOTHING, {"gpu_quota"})),
    ("phi_assets/backends/azure/infrastructure/prices.py", (NOTHING, {"gpu_quota"})),
    ("phi_assets/backends/azure/infrastructure/provisioner.py", (NOTHING, WORKSPACE)),
    ("phi_assets/backends/azure/infrastructure/compute.py", (NOTHING, {"training_compute"})),
    ("phi_assets/backends/azure/infrastructure/training_environment.py", (NOTHING, {"training_environment"})),
    (
        "phi_assets/backends/azure/infrastructure/ml_environment.py",
        (NOTHING, {"training_environment", "online_deployment"}),
    ),
    ("phi_assets/backends/azure/storage/data_assets.py", (NOTHING, {"chat_dataset", "base_model"})),
    ("phi_assets/backends/azure/dataset/*", (NOTHING, READS_RAW)),
    ("phi_assets/backends/azure/dataset/shared_places.py", (NOTHING, DATA)),
    ("phi_assets/backends/azure/jobs/hub_reading.py", (NOTHING, DATA)),
    (
        "phi_assets/backends/azure/jobs/spec.py",
        (NOTHING, {"replay_conversations", "fine_tuned_model", "model_evaluation"}),
    ),
    ("phi_assets/backends/azure/training/base_model_store.py", (NOTHING, {"base_model"})),
    ("phi_assets/backends/azure/training/trainer.py", (NOTHING, {"fine_tuned_model"})),
    ("phi_assets/backends/azure/evaluation/evaluator.py", (NOTHING, {"model_evaluation"})),
    ("phi_assets/backends/azure/evaluation/registry.py", (NOTHING, {"registered_model", "model_card"})),
    ("phi_assets/backends/azure/serving/*", (NOTHING, {"online_deployment"})),
    ("phi_assets/backends/azure/serving/host.py", (NOTHING, ENDPOINT)),
    ("phi_assets/backends/azure/serving/endpoint.py", (NOTHING, {"online_endpoint"})),
    ("phi_assets/backends/azure/serving/state.py", (NOTHING, {"online_endpoint"})),
    ("phi_assets/backends/azure/chat/connection_store.py", (NOTHING, {"endpoint_connection"})),
    ("phi_assets/backends/azure/chat/flow_token.py", (NOTHING, FLOWS)),
    ("phi_assets/backends/azure/chat/shared_flows.py", (NOTHING, FLOWS)),
    ("phi_assets/backends/chat_server.py", (APP, NOTHING)),
    ("chat_code/**", (APP, NOTHING)),
    ("chat_code/environment/**", NOTHING),
    *((path, (APP | {"chat_flow"}, {"chat_flow"})) for path in TURN),
    *((path, (APP | AGENT | {"chat_flow"}, {"chat_flow"})) for path in TURN if path in ASKED_WITH),
    ("chat_code/agent.py", (APP | AGENT, NOTHING)),
    ("dataset_code/**", (NOTHING, DATA)),
    ("training_code/**", {"fine_tuned_model"}),
    ("training_code/presets/*", NOTHING),
    ("training_code/pictures.py", NOTHING),
    ("training_code/environment/*", NOTHING),
    ("training_code/environment/Dockerfile", (NOTHING, {"fine_tuned_model"})),
    ("evaluation_code/**", (EVALUATIONS | AGENT, EVALUATIONS)),
    ("evaluation_code/replay.py", (EVALUATIONS | REPLAY | AGENT, EVALUATIONS | REPLAY)),
    ("evaluation_code/apart.py", (EVALUATIONS | REPLAY | AGENT, EVALUATIONS | REPLAY)),
    ("evaluation_code/pictures.py", NOTHING),
    ("quantization_code/**", NOTHING),
    ("serving_code/**", {"model_evaluation", "online_deployment"}),
    ("serving_code/chat_text.py", {"chat_dataset", "model_evaluation", "online_deployment"}),
    ("serving_code/environment/*", (NOTHING, {"online_deployment"})),
    ("flows/**", FLOWS),
    ("flows/evaluation/*", {"chat_flow_evaluation"}),
    ("flows/chat/README.md", NOTHING),
    ("infra/**", NOTHING),
    ("infra/main.json", (NOTHING, AZURE_RESOURCES)),
]


def expected_of(path: str, backend: str) -> set[str]:
    found = [stale for pattern, stale in FILES if fnmatch(path, pattern)]
    assert found, f"no expectation for {path}"
    return found[-1][BACKENDS.index(backend)] if isinstance(found[-1], tuple) else found[-1]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return copy_of_the_product(tmp_path_factory.mktemp("project"))


def versions_of(backend: str, project: Path) -> dict[str, str]:
    return {
        name: code_versions.of(code, settings_of(backend), project) for name, code in code_of_assets(backend).items()
    }


def settings_of(backend: str) -> Settings:
    return read(AZURE if backend == "azure" else {})


@pytest.mark.parametrize("backend", ["local", pytest.param("azure", marks=pytest.mark.long)])
def test_a_line_of_logic_in_each_file_makes_exactly_this_stale(backend, project):
    before = versions_of(backend, project)
    wrong: dict[str, tuple[set[str], set[str]]] = {}
    for name in product_files(project):
        file = project / name
        content = file.read_bytes()
        file.write_bytes(with_more_logic(file))
        after = versions_of(backend, project)
        file.write_bytes(content)
        changed = {asset for asset in after if after[asset] != before[asset]}
        if changed != expected_of(name, backend):
            wrong[name] = (changed, expected_of(name, backend))

    assert wrong == {}, "file: (made stale, expected)"


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_form_of_every_file_makes_nothing_stale(backend, tmp_path, project):
    """Comments, docstrings, formatting, import lines and log calls, in all files at once."""
    other = tmp_path / "project"
    shutil.copytree(project, other)
    for name in product_files(other):
        (other / name).write_bytes(in_another_form(other / name))

    assert versions_of(backend, other) == versions_of(backend, project)


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_a_preset_the_values_count_and_only_of_the_one_that_is_used(backend, project):
    used = project / "training_code" / "presets" / f"{settings_of(backend).preset}.yaml"
    before = versions_of(backend, project)
    content = used.read_text()

    used.write_text(f"# a comment\n\n{content}")
    same = versions_of(backend, project)
    used.write_text(content.replace("epochs: ", "epochs: 1"))
    after = versions_of(backend, project)
    used.write_text(content)

    assert same == before
    assert {name for name in after if after[name] != before[name]} == {"fine_tuned_model"}
