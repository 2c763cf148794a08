import ast
import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from phi_assets import gates, staleness
from phi_assets.definitions import definitions
from phi_assets.settings import PROJECT

SNAPSHOT = Path(__file__).parent / "asset_graph.json"
HEAVY = ("torch", "transformers", "azure", "mlflow", "promptflow", "datasets", "pandas", "presidio_analyzer")


def graph() -> dict:
    """Everything about the assets that a reviewer should see change."""
    loaded = definitions()
    asset_graph = loaded.resolve_asset_graph()
    found = {}
    for key in sorted(asset_graph.get_all_asset_keys()):
        node = asset_graph.get(key)
        found[key.to_user_string()] = {
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "description": node.description,
            "upstream": sorted(parent.to_user_string() for parent in node.parent_keys),
            "checks": sorted(check.name for check in node.check_keys),
            "automation": str(node.automation_condition) if node.automation_condition else None,
            "source": not node.is_materializable,
        }
    jobs = {job.name: job.description for job in loaded.jobs or []}
    return {"assets": found, "jobs": jobs, "sensors": [sensor.name for sensor in loaded.sensors or []]}


def test_the_asset_graph_is_the_one_in_the_snapshot():
    """Run `python tests/test_definitions.py` to write the snapshot anew, and read its diff."""
    assert graph() == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def test_there_is_no_external_key_but_the_two_observed_sources():
    asset_graph = definitions().resolve_asset_graph()

    sources = {
        key.to_user_string() for key in asset_graph.get_all_asset_keys() if not asset_graph.get(key).is_materializable
    }

    assert sources == {"raw_conversations", "evaluation_questions"}
    assert all(asset_graph.get(dg.AssetKey(name)).is_observable for name in sources)


def test_every_asset_has_what_a_person_looks_for():
    for asset in definitions().resolve_all_asset_specs():
        name = asset.key.to_user_string()
        assert asset.group_name, name
        assert asset.kinds, name
        assert asset.owners, name
        assert asset.description, name
        assert "dagster/code_references" in asset.metadata, name


def test_every_blocking_check_is_in_the_gates_table():
    asset_graph = definitions().resolve_asset_graph()

    blocking: dict[str, set[str]] = {}
    for key in asset_graph.asset_check_keys:
        if asset_graph.get_check_spec(key).blocking:
            blocking.setdefault(key.asset_key.to_user_string(), set()).add(key.name)

    assert blocking == {asset: set(names) for asset, names in gates.BLOCKING.items()}


def test_every_asset_behind_a_blocking_check_asks_for_its_verdict():
    """Read from the source: an asset whose upstream is gated calls `gates.require_passed` for it."""
    asset_graph = definitions().resolve_asset_graph()
    bodies = {
        node.name: ast.unparse(node)
        for path in (PROJECT / "phi_assets" / "defs").rglob("assets.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    for gated in gates.BLOCKING:
        for behind in asset_graph.get(dg.AssetKey(gated)).child_keys:
            assert f"require_passed(context.instance, '{gated}'" in bodies[behind.to_user_string()]


def test_every_asset_is_kept_by_a_port():
    materializable = {spec.key.to_user_string() for spec in definitions().resolve_all_asset_specs()} - {
        "raw_conversations",
        "evaluation_questions",
    }

    assert set(staleness.KEPT_BY) == materializable
    assert set(staleness.KEPT_BY.values()) <= set(definitions().resources or {})


def test_loading_the_definitions_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from phi_assets.definitions import definitions\n"
        "definitions()\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("tree", ["training_code", "evaluation_code", "serving_code", "flows"])
def test_what_runs_elsewhere_imports_neither_the_project_nor_dagster(tree):
    imported: dict[str, set[str]] = {}
    for path in (PROJECT / tree).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                imported.setdefault(name.partition(".")[0], set()).add(path.relative_to(PROJECT).as_posix())

    assert "phi_assets" not in imported
    assert "dagster" not in imported
    assert len(imported.get("dagster_pipes", ())) <= 1


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(graph(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
