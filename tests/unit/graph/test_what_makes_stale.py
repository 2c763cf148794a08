"""What makes an asset stale: each product file and each setting is changed, on both backends.

All expectations are written by hand; the graph is the one that the definitions have. `reached` is what the runs after a
change materialise when each of them gives a different result.
"""

import ast
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from phi_assets.graph import code_versions, staleness
from phi_assets.settings import PROJECT, Settings, read
from tests.support.graph_copy import GraphCopy
from tests.support.graph_facts import AZURE, BACKENDS

TREES = ("phi_assets", "dataset_code", "training_code", "evaluation_code", "serving_code", "flows", "infra")
BASE = {"local": {}, "azure": AZURE}

FLOWS = {"chat_flow", "chat_flow_evaluation"}
FROM_DEPLOYMENT = {"online_deployment", *FLOWS}
FROM_EVALUATION = {"model_evaluation", "registered_model", "model_card", *FROM_DEPLOYMENT}
FROM_TRAINING = {"fine_tuned_model", *FROM_EVALUATION}
FROM_ENDPOINT = {"online_endpoint", "endpoint_connection", *FROM_DEPLOYMENT}
AZURE_RESOURCES = {
    "resource_group",
    "storage_account",
    "key_vault",
    "application_insights",
    "container_registry",
    "managed_identity",
    "chat_database",
    "role_assignments",
}
ON_RESOURCES = {"ml_workspace", "training_compute", "training_environment", "chat_dataset", "base_model"}
ALL_OF_AZURE = {*AZURE_RESOURCES, *ON_RESOURCES, *FROM_TRAINING, *FROM_ENDPOINT, "gpu_quota"}
ALL_BUT_QUOTA = ALL_OF_AZURE - {"gpu_quota"}
# A flow is in the home and does not name the deployment: it depends on its connection.
NAMES_DEPLOYMENT = ALL_BUT_QUOTA - FLOWS
EVALUATIONS = {"model_evaluation", "chat_flow_evaluation"}


@dataclass(frozen=True)
class Row:
    """A change of a source file or of a setting: the assets that it makes stale at once, and those that runs reach."""

    what: str
    stale: set[str] = field(default_factory=set[str])
    reached: set[str] = field(default_factory=set[str])
    value: str = "7"
    """The setting's new value."""
    observed: set[str] = field(default_factory=set[str])
    """Source assets whose code version changes; they are observed, never stale."""


def data(what: str, value: str = "7", **more: set[str]) -> Row:
    return Row(what, {"chat_dataset"}, {"chat_dataset", *FROM_TRAINING}, value, **more)


RAW, QUESTIONS = {"raw_conversations"}, {"evaluation_questions"}
CHAT = {"endpoint_connection", *FLOWS}
WORKSPACE_SOURCE = "phi_assets/defs/infrastructure/assets.py"
WORKSPACE = {"ml_workspace", "training_compute", "training_environment"}
FROM_COMPUTE = {"training_compute", *FROM_TRAINING}
OTHER_SUBSCRIPTION = "00000000-0000-0000-0000-0000000000bb"
BOTH = [
    Row("README.md"),
    Row("training_code/fine_tune.py", {"fine_tuned_model"}, FROM_TRAINING),
    Row("evaluation_code/matching.py", EVALUATIONS, FROM_EVALUATION),
    Row("serving_code/server.py", {"model_evaluation", "online_deployment"}, FROM_EVALUATION),
    Row("flows/chat/flow.dag.yaml", FLOWS, FLOWS),
    Row("flows/evaluation/flow.dag.yaml", {"chat_flow_evaluation"}, {"chat_flow_evaluation"}),
    data("phi_assets/conversations/cleaning.py"),
    data("phi_assets/defs/dataset/assets.py", observed=RAW),
    Row("phi_assets/base_models/convert.py", {"base_model"}, {"base_model", *FROM_TRAINING}),
    Row("phi_assets/models/recipes.py", {"chat_dataset", "fine_tuned_model"}, {"chat_dataset", *FROM_TRAINING}),
    Row("phi_assets/models/promotion_rules.py", {"model_evaluation"}, FROM_EVALUATION),
    Row("phi_assets/model_card/text.py", {"model_card"}, {"model_card"}),
    Row("phi_assets/prompt_flow/package.py", FLOWS, FLOWS),
    Row("phi_assets/defs/training/assets.py", {"base_model", "fine_tuned_model"}, {"base_model", *FROM_TRAINING}),
    Row("phi_assets/defs/evaluation/assets.py", {"model_evaluation", "registered_model"}, FROM_EVALUATION),
    Row("phi_assets/defs/evaluation/questions.py", observed=QUESTIONS),
    Row("phi_assets/defs/serving/assets.py", {"online_endpoint", "online_deployment"}, FROM_ENDPOINT),
    Row("phi_assets/defs/chat/assets.py", CHAT, CHAT),
    data("dataset", "other.jsonl", observed=RAW),
    data("columns", "role=speaker"),
    data("validation_share", "0.2"),
    data("test_share", "0.2"),
    data("near_duplicate_threshold", "0.5"),
    data("personal_data", "drop"),
    data("max_conversation_characters", "500"),
    data("max_broken_share", "0.5"),
    data("min_rows"),
    Row("base_model", {"base_model"}, {"base_model", *FROM_TRAINING}, "hf:microsoft/Phi-4-mini-instruct"),
    Row("preset", {"fine_tuned_model"}, FROM_TRAINING, "phi4-mini-lora"),
    Row("evaluation_questions", EVALUATIONS, FROM_EVALUATION, "none", QUESTIONS),
    Row("promote_on_insufficient_evidence", {"model_evaluation"}, FROM_EVALUATION, "true"),
    Row("min_flow_share_right", {"chat_flow_evaluation"}, {"chat_flow_evaluation"}, "0.9"),
    Row("dataset_license", {"model_card"}, {"model_card"}, "mit"),
]
ON_AZURE = [
    data("phi_assets/conversations/sources/feeds.py", observed=RAW),
    Row(WORKSPACE_SOURCE, WORKSPACE, {*ON_RESOURCES, *FROM_TRAINING, *FROM_ENDPOINT}),
    Row("infra/main.json", AZURE_RESOURCES, ALL_BUT_QUOTA),
    Row("phi_assets/bicep_template.py", AZURE_RESOURCES, ALL_BUT_QUOTA),
    Row("phi_assets/defs/infrastructure/azure_resources.py", AZURE_RESOURCES, ALL_BUT_QUOTA),
    Row("phi_assets/defs/infrastructure/gpu_quota.py", {"gpu_quota"}, ALL_OF_AZURE),
    Row("phi_assets/backends/azure/infrastructure/prices.py", {"gpu_quota"}, ALL_OF_AZURE),
    Row("phi_assets/backends/azure/infrastructure/compute.py", {"training_compute"}, FROM_COMPUTE),
    Row(
        "phi_assets/backends/azure/infrastructure/training_environment.py",
        {"training_environment"},
        {"training_environment", *FROM_TRAINING},
    ),
    Row("phi_assets/backends/azure/training/trainer.py", {"fine_tuned_model"}, FROM_TRAINING),
    # The evaluation runs the server's code, but not in its image.
    Row("serving_code/environment/Dockerfile", {"online_deployment"}, FROM_DEPLOYMENT),
    data("dataset_code/read_hub.py"),
    Row("azure_subscription_id", {*NAMES_DEPLOYMENT, "gpu_quota"}, ALL_OF_AZURE, OTHER_SUBSCRIPTION),
    Row("azure_location", {*NAMES_DEPLOYMENT, "gpu_quota"}, ALL_OF_AZURE, "westeurope"),
    Row("azure_name", NAMES_DEPLOYMENT, ALL_BUT_QUOTA, "another"),
    Row("azure_access_mode", AZURE_RESOURCES, ALL_BUT_QUOTA, "guide"),
    Row("azure_purge_protection", AZURE_RESOURCES, ALL_BUT_QUOTA, "true"),
    Row("azure_vm_size", {"gpu_quota", "training_compute"}, ALL_OF_AZURE, "Standard_E16s_v3"),
    Row("azure_nodes", {"gpu_quota", "training_compute"}, ALL_OF_AZURE),
    Row("azure_idle_minutes", {"gpu_quota", "training_compute"}, ALL_OF_AZURE),
    Row("azure_max_job_cost", {"gpu_quota"}, ALL_OF_AZURE),
    Row("azure_request_quota", {"gpu_quota"}, ALL_OF_AZURE, "true"),
    Row("max_train_minutes", {"gpu_quota"}, ALL_OF_AZURE),
    Row("azure_endpoint_vm_size", {"gpu_quota", "online_deployment"}, ALL_OF_AZURE, "Standard_E8s_v3"),
    Row("azure_endpoint_instances", {"gpu_quota", "online_deployment"}, ALL_OF_AZURE),
    Row("azure_endpoint_auth", {"online_endpoint"}, FROM_ENDPOINT, "aad_token"),
    Row("azure_endpoint_concurrency", {"online_deployment"}, FROM_DEPLOYMENT),
    Row("azure_request_seconds", {"online_deployment"}, FROM_DEPLOYMENT, "60"),
]
ON_A_LAPTOP = [
    data("phi_assets/conversations/sources/feeds.py"),
    Row(WORKSPACE_SOURCE, WORKSPACE, {*WORKSPACE, *FROM_TRAINING, *FROM_ENDPOINT}),
    Row("phi_assets/backends/local/training/trainer.py", {"fine_tuned_model"}, FROM_TRAINING),
]
VALUES_OF_UNREAD = {
    "home": "/elsewhere",
    "automation": "off",
    "retrain_min_drift": "0.7",
    "webhook": "https://example.org/hook",
    "webhook_format": "teams",
    "azure_read_datasets": "azure",
}
# Settings that decide when, where or how fast something is made, whom it is told, or how long it is kept.
UNREAD = [
    Row(name, value=VALUES_OF_UNREAD.get(name, "7"))
    for name in (
        *("home", "inbox", "azure_inbox", "azure_read_datasets", "automation", "watch_seconds", "ui_port"),
        *("retrain_min_new", "retrain_min_growth", "retrain_min_drift", "retrain_cooldown_minutes"),
        *("stale_hours", "superseded_days", "keep_answers_days", "webhook", "webhook_format", "flow_concurrency"),
        *("azure_queue_minutes", "azure_role_minutes", "azure_monthly_budget"),
        *("azure_canary_share", "azure_canary_minutes"),
    )
]


def with_others(rows: list[Row], others: list[Row]) -> list[Row]:
    """Return a backend's rows, and the other backend's, which change nothing here."""
    own = {row.what for row in rows}
    return [*BOTH, *rows, *(Row(row.what, value=row.value) for row in others if row.what not in own), *UNREAD]


TABLE = {"local": with_others(ON_A_LAPTOP, ON_AZURE), "azure": with_others(ON_AZURE, ON_A_LAPTOP)}
CASES = [pytest.param(backend, row, id=f"{backend}-{row.what}") for backend in BACKENDS for row in TABLE[backend]]
# What follows depends on what is stale, not on why: one row for each set is enough.
BY_STALE = {(backend, frozenset(row.stale)): row for backend in BACKENDS for row in TABLE[backend] if row.stale}
ONCE = [pytest.param(backend, row, id=f"{backend}-{row.what}") for (backend, _), row in BY_STALE.items()]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the source that can be changed."""
    folder = tmp_path_factory.mktemp("project")
    for tree in TREES:
        shutil.copytree(PROJECT / tree, folder / tree, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "README.md", folder)
    return folder


@pytest.fixture(scope="module")
def copies(tmp_path_factory, project) -> Iterator[dict[str, GraphCopy]]:
    """Each backend's whole graph, made from the source and the settings as they are."""
    with dg.DagsterInstance.ephemeral() as local, dg.DagsterInstance.ephemeral() as azure:
        instances = {"local": local, "azure": azure}
        made = {name: GraphCopy(name, on, tmp_path_factory.mktemp(name)) for name, on in instances.items()}
        for name, copy in made.items():
            copy.make(defined(copy, name, project), set(copy.assets), "as before")
        yield made


@pytest.fixture
def graph(backend, copies, project) -> Iterator[GraphCopy]:
    """The backend's graph, to make parts of it again."""
    copy = copies[backend]
    yield copy
    copy.make(defined(copy, backend, project), set(copy.assets), "as before")


def defined(graph: GraphCopy, backend: str, project: Path, **others: str) -> dg.Definitions:
    return graph.definitions(read({**BASE[backend], **others}), project)


def changed(graph: GraphCopy, backend: str, project: Path, row: Row) -> dg.Definitions:
    """Return the definitions with the setting's other value, or with a line of logic added to the source file."""
    if row.what in Settings.model_fields:
        return defined(graph, backend, project, **{f"PHI_{row.what.upper()}": row.value})
    file = project / row.what
    before = file.read_bytes()
    try:
        file.write_bytes(with_more_logic(file))
        return defined(graph, backend, project)
    finally:
        file.write_bytes(before)


def with_more_logic(file: Path) -> bytes:
    """Return the file's content with a statement more in the module and in each of its functions."""
    if file.suffix != ".py":
        return file.read_bytes() + b"\n"
    tree = ast.parse(file.read_bytes())
    more = ast.parse("changed = 1").body
    for node in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))]:
        node.body = [*node.body, *more]
    return ast.unparse(tree).encode()


FORM = "'''Another text.'''\nimport string as text\nlog(1)\n_LOG.info(2)"


def in_another_form(file: Path) -> bytes:
    """Return the file's content in other words: formatted anew, with comments, docstrings, imports and log calls."""
    if file.suffix != ".py":
        return file.read_bytes()
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                *ast.parse("'''Another text.'''\nimport string as text\nlog(1)\n_LOG.info(2)").body,
                *node.body,
            ]
    return f"# A comment.\n{ast.unparse(ast.fix_missing_locations(tree))}\n# Another.\n".encode()


def row_of(backend: str, what: str) -> Row:
    return next(row for row in TABLE[backend] if row.what == what)


def versions(definitions: dg.Definitions) -> set[tuple[str, str | None]]:
    return {(asset.name, asset.code_version) for asset in staleness.assets_of(definitions)}


def stale(graph: GraphCopy, definitions: dg.Definitions) -> set[str]:
    states = graph.asset_states(definitions)
    assert {state.status for state in states.values()} <= {"fresh", "stale", "observed"}
    return {name for name, state in states.items() if state.status == "stale"}


def runs_after(graph: GraphCopy, definitions: dg.Definitions, content: str) -> list[str]:
    """What `phi run` makes, wave by wave, until nothing is left; without what it asks again and finds the same."""
    made: list[str] = []
    while wave := staleness.next_assets(states := graph.asset_states(definitions)):
        asked = {name for name in wave if states[name].status == "fresh"}
        assert asked <= set(graph.live)
        graph.make(definitions, asked, "as before")
        graph.make(definitions, [name for name in wave if name not in asked], content)
        made += [name for name in wave if name not in asked]
    return sorted(made)


@pytest.mark.parametrize(("backend", "row"), CASES)
def test_a_change_makes_exactly_this_stale(backend, row, copies, project):
    graph = copies[backend]

    after = changed(graph, backend, project, row)
    other = versions(after) - versions(defined(graph, backend, project))

    assert {name for name, _ in other} == row.stale | row.observed
    assert stale(graph, after) == row.stale


@pytest.mark.parametrize(("backend", "row"), ONCE)
def test_a_change_reaches_exactly_this(backend, row, graph, project):
    after = changed(graph, backend, project, row)

    # Sorted lists, not sets: nothing is made twice.
    assert runs_after(graph, after, "other") == sorted(row.reached)
    assert stale(graph, after) == set()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("what", ["training_code/fine_tune.py", "evaluation_questions", "infra/main.json", "dataset"])
def test_where_the_same_comes_out_nothing_else_is_made(backend, what, graph, project):
    row = row_of(backend, what)
    after = changed(graph, backend, project, row)

    assert runs_after(graph, after, "as before") == sorted(row.stale)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("source", "direct", "reached"),
    [
        ("raw_conversations", {"chat_dataset"}, {"chat_dataset", *FROM_TRAINING}),
        ("evaluation_questions", EVALUATIONS, FROM_EVALUATION),
    ],
)
def test_other_content_of_a_source_reaches_what_learns_from_it(backend, source, direct, reached, graph, project):
    unchanged = defined(graph, backend, project)
    graph.make(unchanged, {source}, "other")

    assert stale(graph, unchanged) == direct
    assert runs_after(graph, unchanged, "other") == sorted(reached)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("what", ["training_code/fine_tune.py", "evaluation_questions", "azure_endpoint_auth"])
def test_dagsters_own_view_agrees(backend, what, copies, project):
    """Its page of an asset, too, calls exactly these stale, because of their own code."""
    graph = copies[backend]
    row = row_of(backend, what)
    after = changed(graph, backend, project, row)

    theirs = CachingStaleStatusResolver(
        graph.instance, after.resolve_asset_graph(), LoadingContextForTest(graph.instance)
    )

    keys = {name: dg.AssetKey(name) for name, asset in graph.assets.items() if not asset["source"]}
    assert {name for name, key in keys.items() if theirs.get_status(key) == StaleStatus.STALE} == row.stale
    assert {theirs.get_stale_causes(keys[name])[0].category.value for name in row.stale} <= {"CODE"}


# What one more line of logic in a file makes stale, by pattern; the last pattern that fits counts. A pair of sets is
# for (laptop, Azure); a source asset is observed anew.
NOTHING: set[str] = set()
ENDPOINT = {"online_endpoint", "online_deployment"}
DATA = {"chat_dataset"}
READS_RAW = {"raw_conversations", "chat_dataset"}
FILES: list[tuple[str, set[str] | tuple[set[str], set[str]]]] = [
    ("phi_assets/**", NOTHING),
    ("phi_assets/defs/infrastructure/assets.py", WORKSPACE),
    ("phi_assets/defs/infrastructure/azure_resources.py", (NOTHING, AZURE_RESOURCES)),
    ("phi_assets/defs/infrastructure/gpu_quota.py", (NOTHING, {"gpu_quota"})),
    ("phi_assets/defs/dataset/assets.py", READS_RAW),
    ("phi_assets/defs/dataset/checks.py", DATA),
    ("phi_assets/defs/training/assets.py", {"base_model", "fine_tuned_model"}),
    ("phi_assets/defs/training/training_config.py", {"fine_tuned_model"}),
    ("phi_assets/defs/evaluation/assets.py", {"model_evaluation", "registered_model"}),
    ("phi_assets/defs/evaluation/checks.py", {"model_evaluation"}),
    ("phi_assets/defs/evaluation/promotion_config.py", {"registered_model"}),
    ("phi_assets/defs/evaluation/questions.py", QUESTIONS),
    ("phi_assets/defs/evaluation/model_card.py", {"model_card"}),
    ("phi_assets/defs/serving/assets.py", ENDPOINT),
    ("phi_assets/defs/chat/assets.py", CHAT),
    ("phi_assets/defs/chat/checks.py", {"chat_flow_evaluation"}),
    ("phi_assets/conversations/**", DATA),
    ("phi_assets/conversations/drift.py", NOTHING),
    ("phi_assets/conversations/sources/snapshot.py", NOTHING),
    *(
        (f"phi_assets/conversations/{name}.py", (DATA, READS_RAW))
        for name in ("rows", "formats/json_lines", *(f"sources/{each}" for each in ("address", "complete_files")))
    ),
    *(
        (f"phi_assets/conversations/sources/{name}.py", (DATA, READS_RAW))
        for name in ("feeds", "hash_cache", "hub_dataset")
    ),
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
    (
        "phi_assets/model_card/record.py",
        ({"ml_workspace", "registered_model", "model_card"}, {"registered_model", "model_card"}),
    ),
    ("phi_assets/endpoint_client.py", (ENDPOINT, {"online_deployment"})),
    ("phi_assets/bicep_template.py", (NOTHING, AZURE_RESOURCES)),
    ("phi_assets/prompt_flow/*", FLOWS),
    ("phi_assets/prompt_flow/connect*.py", {"endpoint_connection"}),
    ("phi_assets/prompt_flow/child_process.py", CHAT),
    ("phi_assets/prompt_flow/environment.py", CHAT),
    ("phi_assets/prompt_flow/batch_*.py", {"chat_flow_evaluation"}),
    ("phi_assets/prompt_flow/trial_child.py", {"chat_flow"}),
    ("phi_assets/backends/dataset_*.py", DATA),
    ("phi_assets/backends/evaluation_reports.py", {"model_evaluation"}),
    ("phi_assets/backends/flow_store.py", FLOWS),
    ("phi_assets/backends/local/infrastructure/provisioner.py", (WORKSPACE, NOTHING)),
    ("phi_assets/backends/local/dataset/store.py", (READS_RAW, NOTHING)),
    ("phi_assets/backends/local/training/base_model_store.py", ({"base_model"}, NOTHING)),
    ("phi_assets/backends/local/training/trainer.py", ({"fine_tuned_model"}, NOTHING)),
    ("phi_assets/backends/local/pipes_child.py", ({"fine_tuned_model", "model_evaluation"}, NOTHING)),
    ("phi_assets/backends/local/evaluation/*", ({"model_evaluation"}, NOTHING)),
    ("phi_assets/backends/local/evaluation/registry.py", ({"ml_workspace", "registered_model"}, NOTHING)),
    ("phi_assets/backends/local/serving/*", (ENDPOINT, NOTHING)),
    ("phi_assets/backends/local/chat/*", ({"endpoint_connection"}, NOTHING)),
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
    ("phi_assets/backends/azure/jobs/hub_reading.py", (NOTHING, DATA)),
    ("phi_assets/backends/azure/jobs/spec.py", (NOTHING, {"fine_tuned_model", "model_evaluation"})),
    ("phi_assets/backends/azure/training/base_model_store.py", (NOTHING, {"base_model"})),
    ("phi_assets/backends/azure/training/trainer.py", (NOTHING, {"fine_tuned_model"})),
    ("phi_assets/backends/azure/evaluation/evaluator.py", (NOTHING, {"model_evaluation"})),
    ("phi_assets/backends/azure/evaluation/registry.py", (NOTHING, {"registered_model", "model_card"})),
    ("phi_assets/backends/azure/serving/*", (NOTHING, {"online_deployment"})),
    ("phi_assets/backends/azure/serving/host.py", (NOTHING, ENDPOINT)),
    ("phi_assets/backends/azure/serving/endpoint.py", (NOTHING, {"online_endpoint"})),
    ("phi_assets/backends/azure/serving/state.py", (NOTHING, {"online_endpoint"})),
    ("phi_assets/backends/azure/serving/lease.py", NOTHING),
    ("phi_assets/backends/azure/chat/connection_store.py", (NOTHING, {"endpoint_connection"})),
    ("phi_assets/backends/azure/chat/flow_token.py", (NOTHING, FLOWS)),
    ("dataset_code/**", (NOTHING, DATA)),
    ("training_code/**", {"fine_tuned_model"}),
    ("training_code/presets/*", NOTHING),
    ("training_code/pictures.py", NOTHING),
    ("training_code/environment/*", NOTHING),
    ("training_code/environment/Dockerfile", (NOTHING, {"fine_tuned_model"})),
    ("evaluation_code/**", EVALUATIONS),
    ("evaluation_code/pictures.py", NOTHING),
    ("serving_code/**", {"model_evaluation", "online_deployment"}),
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


def product_files(project: Path) -> list[str]:
    """Return every file of the product's trees; an __init__.py with no more than a docstring has no logic."""
    paths = [path for tree in TREES for path in sorted((project / tree).rglob("*")) if path.is_file()]
    bare = [path for path in paths if path.name == "__init__.py" and len(ast.parse(path.read_bytes()).body) < 2]
    return [path.relative_to(project).as_posix() for path in paths if path not in bare]


def versions_of(graph: GraphCopy, backend: str, project: Path) -> dict[str, str]:
    settings = read(dict(BASE[backend]))
    return {name: code_versions.of(code, settings, project) for name, code in graph.code.items()}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_line_of_logic_in_each_file_makes_exactly_this_stale(backend, copies, project):
    graph = copies[backend]
    before = versions_of(graph, backend, project)
    wrong: dict[str, tuple[set[str], set[str]]] = {}
    for name in product_files(project):
        file = project / name
        content = file.read_bytes()
        file.write_bytes(with_more_logic(file))
        after = versions_of(graph, backend, project)
        file.write_bytes(content)
        changed = {asset for asset in after if after[asset] != before[asset]}
        if changed != expected_of(name, backend):
            wrong[name] = (changed, expected_of(name, backend))

    assert wrong == {}, "file: (made stale, expected)"


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_form_of_every_file_makes_nothing_stale(backend, copies, tmp_path, project):
    """Comments, docstrings, formatting, import lines and log calls, in all files at once."""
    graph = copies[backend]
    other = tmp_path / "project"
    shutil.copytree(project, other)
    for name in product_files(other):
        (other / name).write_bytes(in_another_form(other / name))

    assert versions_of(graph, backend, other) == versions_of(graph, backend, project)


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_a_preset_the_values_count_and_only_of_the_one_that_is_used(backend, copies, project):
    graph = copies[backend]
    preset = read(dict(BASE[backend])).preset
    used = project / "training_code" / "presets" / f"{preset}.yaml"
    before = versions_of(graph, backend, project)
    content = used.read_text()

    used.write_text(f"# a comment\n\n{content}")
    same = versions_of(graph, backend, project)
    used.write_text(content.replace("epochs: ", "epochs: 1"))
    after = versions_of(graph, backend, project)
    used.write_text(content)

    assert same == before
    assert {name for name in after if after[name] != before[name]} == {"fine_tuned_model"}


def test_the_table_reaches_the_same_wherever_the_same_is_stale():
    for backend in BACKENDS:
        for row in TABLE[backend]:
            if row.stale:
                assert row.reached == BY_STALE[backend, frozenset(row.stale)].reached, row.what


def test_the_table_has_every_setting():
    rows = {row.what for row in TABLE["azure"]}

    assert rows & set(Settings.model_fields) == set(Settings.model_fields) - {"backend"}
