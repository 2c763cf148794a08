"""Each source tree and each setting changed, on both backends: what is stale now, and what is made again then.

`reached` is what the runs that follow make when all that is made again comes out different. The expected sets are
written by hand; the graph is the one that the definitions have.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from phi_assets import files
from phi_assets.graph import check_gates, code_versions, staleness
from phi_assets.settings import PROJECT, Settings, read
from tests.support.graph_copy import GraphCopy
from tests.support.graph_facts import AZURE, BACKENDS
from tests.unit.graph.test_code_versions import OTHER_AZURE_VALUES, OTHER_VALUES, VALUES_OF_NO_VERSION

TREES = (
    "phi_assets",
    "dataset_code",
    "training_code",
    "evaluation_code",
    "serving_code",
    "flows",
    "infra",
)
BASE = {"local": {}, "azure": AZURE}

FLOW = {"chat_flow", "chat_flow_evaluation"}
SHIPPED = {"online_deployment", *FLOW}
JUDGED = {"model_evaluation", "registered_model", "model_card", *SHIPPED}
TRAINED = {"fine_tuned_model", *JUDGED}
ANSWERED_AT = {"online_endpoint", "endpoint_connection", *SHIPPED}
DEPLOYED = {
    "resource_group",
    "storage_account",
    "key_vault",
    "application_insights",
    "container_registry",
    "managed_identity",
    "chat_database",
    "role_assignments",
}
STANDS_ON_IT = {"ml_workspace", "training_compute", "training_environment", "chat_dataset", "base_model"}
ALL_OF_AZURE = {*DEPLOYED, *STANDS_ON_IT, *TRAINED, *ANSWERED_AT, "gpu_quota"}
ALL_BUT_QUOTA = ALL_OF_AZURE - {"gpu_quota"}
# A flow is in the home and names no place: it follows its connection.
ON_THE_PLACE = ALL_BUT_QUOTA - FLOW
EXAMINED = {"model_evaluation", "chat_flow_evaluation"}


@dataclass(frozen=True)
class Row:
    """What a change of a source file, or of a setting, makes stale, and what it reaches."""

    what: str
    stale: set[str] = field(default_factory=set[str])
    reached: set[str] = field(default_factory=set[str])


BOTH = [
    Row("training_code/fine_tune.py", {"fine_tuned_model"}, TRAINED),
    Row("training_code/presets/laptop.yaml", {"fine_tuned_model"}, TRAINED),
    Row("evaluation_code/matching.py", EXAMINED, JUDGED),
    Row("serving_code/server.py", {"model_evaluation", "online_deployment"}, JUDGED),
    Row("flows/chat/flow.dag.yaml", FLOW, FLOW),
    Row("flows/evaluation/flow.dag.yaml", {"chat_flow_evaluation"}, {"chat_flow_evaluation"}),
    Row("phi_assets/conversations/cleaning.py", {"chat_dataset"}, {"chat_dataset", *TRAINED}),
    Row("phi_assets/base_models/convert.py", {"base_model"}, {"base_model", *TRAINED}),
    Row("phi_assets/endpoint_client.py", {"online_deployment"}, SHIPPED),
    Row("README.md"),
    Row("dataset", {"chat_dataset"}, {"chat_dataset", *TRAINED}),
    Row("columns", {"chat_dataset"}, {"chat_dataset", *TRAINED}),
    Row("validation_share", {"chat_dataset"}, {"chat_dataset", *TRAINED}),
    Row("test_share", {"chat_dataset"}, {"chat_dataset", *TRAINED}),
    Row("near_duplicate_threshold", {"chat_dataset"}, {"chat_dataset", *TRAINED}),
    Row("personal_data", {"chat_dataset"}, {"chat_dataset", *TRAINED}),
    Row("max_conversation_characters", {"chat_dataset"}, {"chat_dataset", *TRAINED}),
    Row("max_broken_share", {"chat_dataset"}, {"chat_dataset", *TRAINED}),
    Row("min_rows", {"chat_dataset"}, {"chat_dataset", *TRAINED}),
    Row("base_model", {"base_model"}, {"base_model", *TRAINED}),
    Row("preset", {"fine_tuned_model"}, TRAINED),
    Row("evaluation_questions", EXAMINED, JUDGED),
    Row("promote_on_insufficient_evidence", {"model_evaluation"}, JUDGED),
    Row("min_flow_share_right", {"chat_flow_evaluation"}, {"chat_flow_evaluation"}),
    Row("dataset_license", {"model_card"}, {"model_card"}),
]
ON_AZURE = [
    Row("infra/main.json", DEPLOYED, ALL_BUT_QUOTA),
    Row("serving_code/environment/Dockerfile", {"online_deployment"}, SHIPPED),
    Row("dataset_code/read_hub.py", {"chat_dataset"}, {"chat_dataset", *TRAINED}),
    Row("azure_subscription_id", {*ON_THE_PLACE, "gpu_quota"}, ALL_OF_AZURE),
    Row("azure_location", {*ON_THE_PLACE, "gpu_quota"}, ALL_OF_AZURE),
    Row("azure_name", ON_THE_PLACE, ALL_BUT_QUOTA),
    Row("azure_access_mode", DEPLOYED, ALL_BUT_QUOTA),
    Row("azure_purge_protection", DEPLOYED, ALL_BUT_QUOTA),
    Row("azure_vm_size", {"gpu_quota", "training_compute"}, ALL_OF_AZURE),
    Row("azure_nodes", {"gpu_quota", "training_compute"}, ALL_OF_AZURE),
    Row("azure_idle_minutes", {"gpu_quota", "training_compute"}, ALL_OF_AZURE),
    Row("azure_max_job_cost", {"gpu_quota"}, ALL_OF_AZURE),
    Row("azure_request_quota", {"gpu_quota"}, ALL_OF_AZURE),
    Row("max_train_minutes", {"gpu_quota"}, ALL_OF_AZURE),
    Row("azure_endpoint_vm_size", {"gpu_quota", "online_deployment"}, ALL_OF_AZURE),
    Row("azure_endpoint_instances", {"gpu_quota", "online_deployment"}, ALL_OF_AZURE),
    Row("azure_endpoint_auth", {"online_endpoint"}, ANSWERED_AT),
    Row("azure_endpoint_concurrency", {"online_deployment"}, SHIPPED),
    Row("azure_request_seconds", {"online_deployment"}, SHIPPED),
]
ON_A_LAPTOP = [Row(row.what) for row in ON_AZURE]
UNREAD = [Row(name) for name in sorted(set(code_versions.NO_VERSION) - {"backend", "max_train_minutes"})]
TABLE = {"local": [*BOTH, *ON_A_LAPTOP, *UNREAD], "azure": [*BOTH, *ON_AZURE, *UNREAD]}
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


def changed(graph: GraphCopy, backend: str, project: Path, what: str) -> dg.Definitions:
    """The graph as it is defined after a setting got another value, or a source file a line more."""
    if what in Settings.model_fields:
        return defined(graph, backend, project, **{f"PHI_{what.upper()}": other_value(backend, what)})
    file = project / what
    before = file.read_bytes()
    try:
        file.write_bytes(before + b"\n")
        files.tree_sha256.cache_clear()
        return defined(graph, backend, project)
    finally:
        file.write_bytes(before)
        files.tree_sha256.cache_clear()


def row_of(backend: str, what: str) -> Row:
    return next(row for row in TABLE[backend] if row.what == what)


def other_value(backend: str, setting: str) -> str:
    known = {**OTHER_VALUES, **OTHER_AZURE_VALUES} if backend == "azure" else {**OTHER_AZURE_VALUES, **OTHER_VALUES}
    return known[setting][0] if setting in known else VALUES_OF_NO_VERSION.get(setting, "7")


def stale(graph: GraphCopy, definitions: dg.Definitions) -> set[str]:
    states = graph.survey(definitions)
    assert {state.status for state in states.values()} <= {"fresh", "stale", "observed"}
    return {name for name, state in states.items() if state.status == "stale"}


def runs_after(graph: GraphCopy, definitions: dg.Definitions, content: str) -> list[str]:
    """What `phi run` makes, wave by wave, until nothing is left; without what it asks again and finds the same."""
    made: list[str] = []
    while wave := staleness.next_wave(states := graph.survey(definitions)):
        asked = {name for name in wave if states[name].status == "fresh"}
        assert asked <= set(check_gates.LIVE)
        graph.make(definitions, asked, "as before")
        graph.make(definitions, [name for name in wave if name not in asked], content)
        made += [name for name in wave if name not in asked]
    return sorted(made)


@pytest.mark.parametrize(("backend", "row"), CASES)
def test_a_change_makes_exactly_this_stale(backend, row, copies, project):
    graph = copies[backend]

    assert stale(graph, changed(graph, backend, project, row.what)) == row.stale


@pytest.mark.parametrize(("backend", "row"), ONCE)
def test_a_change_reaches_exactly_this(backend, row, graph, project):
    after = changed(graph, backend, project, row.what)

    # Sorted lists, not sets: nothing is made twice.
    assert runs_after(graph, after, "other") == sorted(row.reached)
    assert stale(graph, after) == set()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("what", ["training_code/fine_tune.py", "evaluation_questions", "infra/main.json", "dataset"])
def test_where_the_same_comes_out_nothing_else_is_made(backend, what, graph, project):
    after = changed(graph, backend, project, what)

    assert runs_after(graph, after, "as before") == sorted(row_of(backend, what).stale)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("source", "direct", "reached"),
    [
        ("raw_conversations", {"chat_dataset"}, {"chat_dataset", *TRAINED}),
        ("evaluation_questions", EXAMINED, JUDGED),
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
    after = changed(graph, backend, project, what)

    theirs = CachingStaleStatusResolver(
        graph.instance, after.resolve_asset_graph(), LoadingContextForTest(graph.instance)
    )

    keys = {name: dg.AssetKey(name) for name, asset in graph.assets.items() if not asset["source"]}
    assert {name for name, key in keys.items() if theirs.get_status(key) == StaleStatus.STALE} == row.stale
    assert {theirs.get_stale_causes(keys[name])[0].category.value for name in row.stale} <= {"CODE"}


def test_the_table_has_every_setting_and_every_tree():
    settings = {row.what for row in TABLE["azure"] if row.what in Settings.model_fields}
    trees = {row.what.partition("/")[0] for row in TABLE["azure"]} - settings - {"README.md"}

    assert settings == set(Settings.model_fields) - {"backend"}
    assert trees == set(TREES)


def test_the_table_reaches_the_same_wherever_the_same_is_stale():
    for backend in BACKENDS:
        for row in TABLE[backend]:
            if row.stale:
                assert row.reached == BY_STALE[backend, frozenset(row.stale)].reached, row.what
