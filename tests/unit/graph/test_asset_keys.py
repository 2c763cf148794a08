"""With PHI_PROJECT every link to an asset's page has the project's prefix."""

import ast
from pathlib import Path

import pytest

import phi_assets
from phi_assets.cli.why import lineage_link
from phi_assets.graph.asset_keys import key_of, name_of
from phi_assets.settings import current

SOURCES = Path(phi_assets.__file__).parent


@pytest.fixture
def pumps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHI_PROJECT", "pumps")
    current.cache_clear()
    yield
    monkeypatch.undo()
    current.cache_clear()


def test_a_key_has_the_project_before_the_name(pumps):
    assert key_of("chat_dataset").path == ["pumps", "chat_dataset"]
    assert name_of(key_of("chat_dataset")) == "chat_dataset"


def test_the_lineage_of_an_answer_is_on_the_projects_page(pumps):
    assert lineage_link("http://ui") == "http://ui/assets/pumps/online_deployment?view=lineage&lineageScope=upstream"


def test_no_link_in_metadata_names_a_key_without_the_project():
    by_hand = [
        f"{file.relative_to(SOURCES)}:{call.lineno}"
        for file in SOURCES.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "asset"
        and isinstance(call.func.value, ast.Attribute)
        and call.func.value.attr == "MetadataValue"
        and ast.unparse(call.args[0]).startswith("dg.AssetKey")
    ]
    assert by_hand == []
