import ast
import json
from pathlib import Path
from typing import Any

import pytest

from phi_assets.project import PROJECT
from tests.support.asset_sets import FLOWS
from tests.support.graph_facts import AZURE, BACKENDS, facts_of
from tests.support.project_copy import MADE, OBSERVED, run_in, with_own_definitions

SNAPSHOTS = {
    "local": Path(__file__).parent / "asset_graph.json",
    "azure": Path(__file__).parent / "asset_graph_azure.json",
}
WITH_CHAT = ("PHI_AZURE_CHAT_CLIENT_ID", "00000000-0000-0000-0000-0000000000cc")
SNAPSHOT_WITH_CHAT = Path(__file__).parent / "asset_graph_azure_chat.json"
SOURCES = {"raw_conversations", "evaluation_questions", "general_questions", "replay_sources"}
OF_THE_CHAT = {"local": {"chat_history", "reviewed_feedback"}, "azure": set[str]()}


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def facts(backend) -> dict[str, Any]:
    return facts_of(backend)


def test_the_asset_graph_is_the_one_in_the_snapshot(backend, facts):
    """Run `python -m tests.unit.test_definitions` to write the snapshots anew, and read their diff."""
    assert facts["graph"] == json.loads(SNAPSHOTS[backend].read_text(encoding="utf-8"))


def test_azures_graph_with_the_chat_is_the_one_in_its_snapshot_and_takes_nothing_away():
    graph = facts_of("azure", WITH_CHAT)["graph"]

    assert graph == json.loads(SNAPSHOT_WITH_CHAT.read_text(encoding="utf-8"))
    assert graph["assets"].keys() > facts_of("azure")["graph"]["assets"].keys()


def test_without_prompt_flow_its_assets_and_their_checks_are_left_out_and_nothing_else_changes(backend, facts):
    without = facts_of(backend, ("PHI_PROMPT_FLOW", "off"))["graph"]

    assert facts["graph"]["assets"].keys() - without["assets"].keys() == {"endpoint_connection", *FLOWS}
    others = {name: facts["graph"]["assets"][name] for name in without["assets"]}
    if backend == "local":  # nothing is left to compare the agent with
        others["agent_evaluation"] = {**others["agent_evaluation"], "checks": []}
    assert without == {**facts["graph"], "assets": others}


@pytest.mark.parametrize("settings", [("local",), ("azure",), ("azure", WITH_CHAT)])
def test_a_run_observes_every_source(settings):
    facts = facts_of(*settings)
    sources = {name for name, asset in facts["graph"]["assets"].items() if asset["source"]}
    assert set(facts["observed"]) == sources & set(facts["observable"])
    assert ("chat_history" in sources) is (settings != ("azure",))


def test_there_is_no_external_key_but_the_observed_sources(backend, facts):
    assets = facts["graph"]["assets"]

    assert {name for name, asset in assets.items() if asset["source"]} == SOURCES | OF_THE_CHAT[backend]
    assert set(facts["observable"]) >= SOURCES | OF_THE_CHAT[backend]


def test_every_asset_has_what_a_person_looks_for(facts):
    for name, asset in facts["graph"]["assets"].items():
        assert asset["group"], name
        assert asset["kinds"], name
        assert asset["owners"], name
        assert asset["description"], name
        assert name in facts["code_references"], name


def test_every_blocking_check_is_required_by_the_gates(facts):
    assert {asset: set(names) for asset, names in facts["blocking"].items()} == {
        asset: set(names) for asset, names in facts["gates"].items() if asset in facts["graph"]["assets"]
    }


def test_every_asset_behind_a_blocking_check_asks_for_its_verdict(facts):
    """Read from the source: an asset whose upstream is gated calls `gates.require_passed` for it, or for all."""
    bodies = {
        node.name: ast.unparse(node)
        for path in (PROJECT / "phi_assets" / "defs").rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    bodies["resource_group"] = bodies["cloud_resources_deployed"]
    for gated in facts["blocking"]:
        for behind in facts["children"][gated]:
            for_all = "require_deps_passed(context.instance, " in bodies[behind]
            named = f"require_passed(catalog, '{gated}'" in bodies[behind]
            assert named or (for_all and gated == "gpu_quota"), (gated, behind)


def test_every_asset_is_stored_by_a_port(backend, facts):
    made = set(facts["graph"]["assets"]) - SOURCES - OF_THE_CHAT[backend]

    assert {name for name, port in facts["ports"].items() if port} >= made
    assert {facts["ports"][name] for name in made} <= set(facts["resources"])


LISTED = """
import json
from phi_assets.definitions import definitions
loaded = definitions()
graph = loaded.resolve_asset_graph()
print(json.dumps({
    "assets": [key.to_user_string() for key in graph.get_all_asset_keys()],
    "checks": [key.name for key in graph.asset_check_keys],
    "jobs": [job.name for job in loaded.jobs],
    "schedules": [schedule.name for schedule in loaded.schedules],
    "sensors": [sensor.name for sensor in loaded.sensors],
    "all": loaded.get_repository_def().name,
}))
"""


@pytest.mark.integration
@pytest.mark.parametrize("backend", BACKENDS)
def test_whatever_a_user_adds_is_loaded(backend, tmp_path):
    project = with_own_definitions(tmp_path / "project")

    done = run_in(project, "-c", LISTED, environment=AZURE if backend == "azure" else {})

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    here = facts_of(backend)["graph"]
    assert set(found["assets"]) - set(here["assets"]) == MADE | OBSERVED
    assert "some_words" in found["checks"]
    assert set(found["jobs"]) - set(here["jobs"]) == {"count_words"}
    assert set(found["schedules"]) - set(here["schedules"]) == {"nightly"}
    assert set(found["sensors"]) - set(here["sensors"]) == {"now_and_then"}


def test_loading_the_definitions_imports_nothing_heavy(facts):
    assert facts["heavy"] == []


def test_only_the_azure_backend_the_tests_and_one_file_of_a_job_import_azure():
    """And what wraps it for Dagster, dagster_azure."""
    allowed = ("phi_assets/backends/azure/", "training_code/pipes.py")
    found = []
    for tree in (
        "phi_assets",
        "dataset_code",
        "training_code",
        "evaluation_code",
        "export_code",
        "quantization_code",
        "serving_code",
        "flows",
        "data",
    ):
        for path in (PROJECT / tree).rglob("*.py"):
            name = path.relative_to(PROJECT).as_posix()
            if not name.startswith(allowed) and _imported(path) & {"azure", "dagster_azure", "azureml"}:
                found.append(name)

    assert found == []


@pytest.mark.parametrize(
    "tree",
    ["dataset_code", "training_code", "evaluation_code", "export_code", "quantization_code", "serving_code", "flows"],
)
def test_what_runs_elsewhere_imports_neither_the_project_nor_dagster(tree):
    imported: dict[str, set[str]] = {}
    for path in (PROJECT / tree).rglob("*.py"):
        for name in _imported(path):
            imported.setdefault(name, set()).add(path.relative_to(PROJECT).as_posix())

    assert "phi_assets" not in imported
    assert "dagster" not in imported
    assert len(imported.get("dagster_pipes", ())) <= 1


def _imported(path: Path) -> set[str]:
    """The top-level names of every absolute import in a file, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        found |= {name.partition(".")[0] for name in names}
    return found


if __name__ == "__main__":
    graphs = {snapshot: facts_of(each) for each, snapshot in SNAPSHOTS.items()}
    for path, found in {**graphs, SNAPSHOT_WITH_CHAT: facts_of("azure", WITH_CHAT)}.items():
        path.write_text(json.dumps(found["graph"], indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
