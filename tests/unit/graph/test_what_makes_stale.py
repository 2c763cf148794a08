"""What makes an asset stale, and what runs then make: files and each setting are changed, on both backends.

All expectations are written by hand; the graph is the one that the definitions have. `reached` is what the runs after a
change materialise when each of them gives a different result.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from phi_assets.graph import staleness
from phi_assets.settings import Settings, read
from tests.support.asset_sets import (
    AGENT,
    ALL_BUT_QUOTA,
    ALL_OF_AZURE,
    AZURE_RESOURCES,
    CHAT,
    EVALUATIONS,
    FLOWS,
    FROM_DEPLOYMENT,
    FROM_ENDPOINT,
    FROM_EVALUATION,
    FROM_REPLAY,
    FROM_TRAINING,
    GENERAL,
    NAMES_DEPLOYMENT,
    ON_RESOURCES,
    QUESTIONS,
    RAW,
    REPLAY,
    REPLAY_SOURCES,
    WORKSPACE,
    WORKSPACE_SOURCE,
)
from tests.support.changed_source import copy_of_the_product, with_more_logic
from tests.support.graph_copy import GraphCopy
from tests.support.graph_facts import AZURE, BACKENDS

BASE = {"local": {}, "azure": AZURE}


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
    chat: set[str] = field(default_factory=set[str])
    """Assets of the chat page that it makes stale besides: they are on the laptop only."""

    def on_a_laptop(self) -> "Row":
        """Return the row with what the chat page adds: it depends on base model, endpoint and deployment."""
        app = {"chat_app"} if self.reached & {"base_model", "online_endpoint", "online_deployment"} else set[str]()
        marked = self.stale >= EVALUATIONS
        agent = AGENT if marked or self.reached & {"online_endpoint", "online_deployment"} else set[str]()
        feedback = {"feedback_conversations"} if "feedback_candidates" in self.chat else set[str]()
        reached = self.reached | self.chat | app | agent | feedback
        stale = self.stale | self.chat | (AGENT if marked else set())
        return replace(self, stale=stale, reached=reached, chat=set())


def data(what: str, value: str = "7", **more: set[str]) -> Row:
    return Row(what, {"chat_dataset"}, {"chat_dataset", *FROM_TRAINING}, value, **more)


CANDIDATES = {"feedback_candidates"}
FROM_COMPUTE = {"training_compute", *FROM_REPLAY}
OTHER_SUBSCRIPTION = "00000000-0000-0000-0000-0000000000bb"
BOTH = [
    Row("README.md"),
    Row("training_code/fine_tune.py", {"fine_tuned_model"}, FROM_TRAINING),
    Row("evaluation_code/matching.py", EVALUATIONS, FROM_EVALUATION),
    Row("quantization_code/graph.py"),
    Row("serving_code/server.py", {"model_evaluation", "online_deployment"}, FROM_EVALUATION),
    Row("flows/chat/flow.dag.yaml", FLOWS, FLOWS),
    Row("flows/evaluation/flow.dag.yaml", {"chat_flow_evaluation"}, {"chat_flow_evaluation"}),
    data("phi_assets/conversations/cleaning.py"),
    data("phi_assets/defs/dataset/assets.py", observed=RAW),
    Row("evaluation_code/replay.py", EVALUATIONS | REPLAY, FROM_REPLAY),
    Row("phi_assets/base_models/convert.py", {"base_model"}, {"base_model", *FROM_REPLAY}),
    Row("phi_assets/models/recipes.py", {"chat_dataset", "fine_tuned_model"}, {"chat_dataset", *FROM_TRAINING}),
    Row("phi_assets/models/promotion_rules.py", {"model_evaluation"}, FROM_EVALUATION),
    Row("phi_assets/model_card/text.py", {"model_card"}, {"model_card"}),
    Row("phi_assets/prompt_flow/package.py", FLOWS, FLOWS),
    Row(
        "phi_assets/defs/training/assets.py",
        {"base_model", "replay_conversations", "fine_tuned_model"},
        {"base_model", *FROM_REPLAY},
    ),
    Row("phi_assets/defs/training/replay_sources.py", observed=REPLAY_SOURCES),
    Row("phi_assets/defs/evaluation/assets.py", {"model_evaluation", "registered_model"}, FROM_EVALUATION),
    Row("phi_assets/defs/evaluation/questions.py", observed=QUESTIONS | GENERAL),
    Row("phi_assets/defs/serving/assets.py", {"online_endpoint", "online_deployment"}, FROM_ENDPOINT),
    Row("phi_assets/defs/chat/assets.py", CHAT, CHAT, chat={"chat_app"}),
    data("dataset", "other.jsonl", observed=RAW),
    data("columns", "role=speaker"),
    data("validation_share", "0.2"),
    data("test_share", "0.2"),
    data("near_duplicate_threshold", "0.5"),
    data("personal_data", "drop", chat=CANDIDATES),
    data("regions", "DE,FR", chat=CANDIDATES),
    data("names_model", "names", chat=CANDIDATES),
    data("own_splits", "redraw"),
    data("repairs", "none"),
    data("keep_fields", "name"),
    data("preferences", "learn_chosen"),
    data("template_tokens", "~EOT~"),
    data("max_conversation_characters", "500"),
    data("max_conversation_tokens", "500"),
    data("long_conversations", "cut"),
    data("max_broken_share", "0.5"),
    data("min_rows"),
    data("min_fitting_share", "0.5"),
    Row("base_model", {"base_model"}, {"base_model", *FROM_REPLAY}, "hf:microsoft/Phi-4-mini-instruct"),
    Row("preset", {"fine_tuned_model"}, FROM_TRAINING, "phi4-mini-lora"),
    Row("evaluation_questions", EVALUATIONS, FROM_EVALUATION, "none", QUESTIONS, CANDIDATES),
    Row("general_questions", REPLAY | {"model_evaluation"}, FROM_REPLAY, "none", GENERAL),
    Row("replay", REPLAY, FROM_REPLAY, "none", REPLAY_SOURCES),
    Row("min_general_kept", {"model_evaluation"}, FROM_EVALUATION, "0.5"),
    Row("warn_general_kept", {"model_evaluation"}, FROM_EVALUATION, "0.5"),
    Row("promote_on_insufficient_evidence", {"model_evaluation"}, FROM_EVALUATION, "true"),
    Row("min_flow_share_right", {"chat_flow_evaluation"}, {"chat_flow_evaluation"}, "0.9"),
    Row("dataset_license", {"model_card"}, {"model_card"}, "mit"),
]
ON_AZURE = [
    data("phi_assets/conversations/sources/feeds.py", observed=RAW),
    Row(WORKSPACE_SOURCE, WORKSPACE, {*ON_RESOURCES, *FROM_REPLAY, *FROM_ENDPOINT}),
    Row("infra/main.json", AZURE_RESOURCES, ALL_BUT_QUOTA),
    Row("phi_assets/bicep_template.py", AZURE_RESOURCES, ALL_BUT_QUOTA),
    Row("phi_assets/defs/infrastructure/azure_resources.py", AZURE_RESOURCES, ALL_BUT_QUOTA),
    Row("phi_assets/defs/infrastructure/gpu_quota.py", {"gpu_quota"}, ALL_OF_AZURE),
    Row("phi_assets/backends/azure/infrastructure/prices.py", {"gpu_quota"}, ALL_OF_AZURE),
    Row("phi_assets/backends/azure/infrastructure/compute.py", {"training_compute"}, FROM_COMPUTE),
    Row(
        "phi_assets/backends/azure/infrastructure/training_environment.py",
        {"training_environment"},
        {"training_environment", *FROM_REPLAY},
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
    Row("quantize", {"online_deployment"}, FROM_DEPLOYMENT, "int8"),
    data("phi_assets/conversations/sources/feeds.py"),
    Row(WORKSPACE_SOURCE, WORKSPACE, {*WORKSPACE, *FROM_REPLAY, *FROM_ENDPOINT}),
    Row("phi_assets/backends/local/training/trainer.py", {"fine_tuned_model"}, FROM_TRAINING),
    Row("chat_code/service.py", chat={"chat_app"}),
    Row("chat_code/turn.py", {"chat_flow"}, FLOWS, chat={"chat_app", "agent_evaluation"}),
    Row("chat_code/agent.py", chat={"chat_app", "agent_evaluation"}),
    Row("phi_assets/defs/chat/agent.py", chat={"agent_evaluation"}),
    *(
        Row(name, value=value, chat={"chat_app"})
        for name, value in {
            "chat_port": "8099",
            "chat_hosts": "chat.example",
            "chat_system_prompt": "prompt.txt",
            "chat_max_tokens": "7",
            "chat_temperature": "0.5",
            "chat_answers": "7",
            "chat_day_requests": "7",
            "chat_day_tokens": "7",
            "chat_words": "words.txt",
            "chat_content_safety": "https://safety.example.com",
            "chat_content_safety_severity": "high",
            "keep_chat_days": "7",
            "traces": "http://127.0.0.1:5000/v1/traces",
            "trace_content": "true",
        }.items()
    ),
    *(Row(name, value="0.1", chat={"feedback_conversations"}) for name in ("feedback_share", "feedback_person_share")),
]
VALUES_OF_UNREAD = {
    "home": "/elsewhere",
    "automation": "off",
    "project": "support",
    "dagster_url": "https://dagster.example.org",
    "retrain_min_drift": "0.7",
    "webhook": "https://example.org/hook",
    "webhook_format": "teams",
    "prompt_flow": "off",
    "azure_read_datasets": "azure",
    "azure_chat_client_id": "33333333-3333-3333-3333-333333333333",
    "azure_chat_image": "example.azurecr.io/chat:1",
}
# Settings that decide when, where or how fast something is made, whom it is told, or how long it is kept.
UNREAD = [
    Row(name, value=VALUES_OF_UNREAD.get(name, "7"))
    for name in (
        *(
            "home",
            "project",
            "inbox",
            "azure_inbox",
            "azure_read_datasets",
            "automation",
            "watch_seconds",
            "ui_port",
            "ui_hosts",
            "dagster_url",
        ),
        *("retrain_min_new", "retrain_min_growth", "retrain_min_drift", "retrain_cooldown_minutes"),
        *(
            "stale_hours",
            "superseded_days",
            "keep_answers_days",
            *("keep_models", "keep_days", "keep_quiet_days"),
            "webhook",
            "webhook_format",
            "flow_concurrency",
            "prompt_flow",
        ),
        *("azure_chat_client_id", "azure_chat_image"),
        *("azure_queue_minutes", "azure_role_minutes", "azure_monthly_budget"),
        *("azure_canary_share", "azure_canary_minutes"),
        "mlflow_port",
    )
]


VALUES_ELSEWHERE = {"quantize": "off"}  # Azure refuses another


def with_others(rows: list[Row], others: list[Row]) -> list[Row]:
    """Return a backend's rows, and the other backend's, which change nothing here."""
    own = {row.what for row in rows}
    foreign = [Row(row.what, value=VALUES_ELSEWHERE.get(row.what, row.value)) for row in others if row.what not in own]
    return [*BOTH, *rows, *foreign, *UNREAD]


TABLE = {
    "local": [row.on_a_laptop() for row in with_others(ON_A_LAPTOP, ON_AZURE)],
    "azure": with_others([*ON_AZURE, Row("chat_code/turn.py", {"chat_flow"}, FLOWS)], ON_A_LAPTOP),
}
OTHERS = {"local": {row.what for row in ON_AZURE}, "azure": {row.what for row in ON_A_LAPTOP}}
"""What decides something on the other backend; that it changes nothing here is left to the long tests."""
CASES = [
    pytest.param(
        backend,
        row,
        id=f"{backend}-{row.what}",
        marks=[pytest.mark.long] if row.what in OTHERS[backend] and not row.stale else [],
    )
    for backend in BACKENDS
    for row in TABLE[backend]
]
# What follows depends on what is stale, not on why: one row for each set is enough.
BY_STALE = {(backend, frozenset(row.stale)): row for backend in BACKENDS for row in TABLE[backend] if row.stale}
ONCE = [pytest.param(backend, row, id=f"{backend}-{row.what}") for (backend, _), row in BY_STALE.items()]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return copy_of_the_product(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def copies(tmp_path_factory, project) -> Iterator[dict[str, GraphCopy]]:
    """Each backend's whole graph, made from the source and the settings as they are."""
    with dg.DagsterInstance.ephemeral() as local, dg.DagsterInstance.ephemeral() as azure:
        instances = {"local": local, "azure": azure}
        made = {name: GraphCopy(name, on, tmp_path_factory.mktemp(name)) for name, on in instances.items()}
        for name, copy in made.items():
            copy.make(defined(copy, name, project), set(copy.assets), "as before")
        yield made


@pytest.fixture(scope="module")
def unchanged(copies, project) -> dict[str, set[tuple[str, str | None]]]:
    """Each asset's code version before any change."""
    return {backend: versions(defined(graph, backend, project)) for backend, graph in copies.items()}


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
def test_a_change_makes_exactly_this_stale(backend, row, copies, project, unchanged):
    graph = copies[backend]

    after = changed(graph, backend, project, row)
    other = versions(after) - unchanged[backend]

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
        ("general_questions", REPLAY | {"model_evaluation"}, FROM_REPLAY),
        ("replay_sources", REPLAY, FROM_REPLAY),
    ],
)
def test_other_content_of_a_source_reaches_what_learns_from_it(backend, source, direct, reached, graph, project):
    unchanged = defined(graph, backend, project)
    graph.make(unchanged, {source}, "other")
    expected = Row(source, direct, reached, chat=CANDIDATES if source == "evaluation_questions" else set())
    if backend == "local":
        expected = expected.on_a_laptop()

    assert stale(graph, unchanged) == expected.stale
    assert runs_after(graph, unchanged, "other") == sorted(expected.reached)


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


def test_the_table_reaches_the_same_wherever_the_same_is_stale():
    for backend in BACKENDS:
        for row in TABLE[backend]:
            if row.stale:
                assert row.reached == BY_STALE[backend, frozenset(row.stale)].reached, row.what


def test_the_table_has_every_setting():
    rows = {row.what for row in TABLE["azure"]}

    assert rows & set(Settings.model_fields) == set(Settings.model_fields) - {"backend"}
