"""Every row of docs/guide.md has tests that name it, every such test has its row, and no name on the pages is wrong.

A test names its rows by `@pytest.mark.guide("gpu-quota")`. Read from the sources: no test is imported.
"""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache

import pytest

from phi_assets.backends.azure.infrastructure import prices
from phi_assets.cli.main import phi
from phi_assets.project import PROJECT
from phi_assets.settings import Settings

DOCS, TESTS = PROJECT / "docs", PROJECT / "tests"
PAGE = (DOCS / "guide.md").read_text(encoding="utf-8")
AZURE = "".join(
    (DOCS / folder / "azure.md").read_text(encoding="utf-8") for folder in ("tutorials", "how-to", "explanation")
)
GRAPHS = [json.loads((TESTS / f"unit/asset_graph{which}.json").read_text("utf-8")) for which in ("", "_azure_chat")]
ASSETS = {name for graph in GRAPHS for name in graph["assets"]}
NAME = re.compile(r"`([^`\n]+)`")


@cache
def rows() -> dict[str, list[str]]:
    """The tests that each row of the page names, by the row's own name."""
    found = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 4:
            found[cells[0].strip("` ")] = NAME.findall(cells[3])
    return found


@cache
def marked() -> dict[str, set[str]]:
    """The tests, as file::function, whose decorator names a row."""
    found: dict[str, set[str]] = {}
    for path in sorted(
        path for folder in (TESTS, PROJECT / "azure_emulator/tests") for path in folder.rglob("test_*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for row in _named_by(node):
                    found.setdefault(row, set()).add(f"{path.relative_to(PROJECT)}::{node.name}")
    return found


def _named_by(function: ast.FunctionDef) -> Iterator[str]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.guide":
            yield from (ast.literal_eval(argument) for argument in decorator.args)


def test_every_row_of_the_guide_has_a_test_that_names_it():
    assert len(rows()) > 25
    assert [row for row in rows() if row not in marked()] == []


def test_every_test_that_names_a_row_has_one():
    assert [row for row in marked() if row not in rows()] == []


def test_the_page_names_just_the_tests_that_name_its_rows():
    assert {row: set(tests) for row, tests in rows().items()} == marked()


def test_a_row_stands_on_the_page_once():
    names = re.findall(r"^\| `([^`]+)` \|", PAGE, re.M)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("page", [PAGE, AZURE], ids=["guide", "azure"])
def test_every_setting_and_command_on_the_page_exists(page):
    settings = set(re.findall(r"PHI_[A-Z_]+", page))
    commands = set(re.findall(r"`phi (\w+)", page))

    assert settings <= {f"PHI_{name.upper()}" for name in Settings.model_fields}
    assert commands <= set(phi.commands)


def test_every_asset_on_the_page_is_in_a_graph():
    """The third column speaks of assets by their names; chat_history is the one that the page says is missing."""
    cells = [line.split(" | ")[2] for line in PAGE.splitlines() if line.startswith("| `")]
    written = {name for cell in cells for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", cell)}

    assert written - {"chat_history", "input_data"} <= ASSETS


def test_azures_pages_lead_through_every_asset_of_the_azure_graph():
    left_out = {
        "raw_conversations",
        "evaluation_questions",
        "general_questions",
        "replay_sources",
    }  # observed, not made
    between = {"storage_account", "key_vault", "application_insights", "container_registry", "managed_identity"}
    # "`resource_group` to `role_assignments`"

    assert set(GRAPHS[1]["assets"]) - left_out - between <= set(NAME.findall(AZURE))


def test_every_refusal_on_azures_pages_is_one_that_the_project_knows():
    codes = re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", AZURE)
    sources = "".join(path.read_text("utf-8") for path in (PROJECT / "phi_assets/backends/azure").rglob("*.py"))

    assert len(codes) > 8
    assert [code for code in codes if code not in sources] == []


def test_the_prices_on_azures_pages_are_those_of_the_table():
    train, serve = prices.machine("Standard_NC24ads_A100_v4"), prices.machine("Standard_E4s_v3")

    assert prices.AS_OF.split(",")[0].removeprefix("noted ") in AZURE
    assert f"| {train.dollars_an_hour} an hour; none while no node runs" in AZURE
    day, month = serve.dollars_an_hour * 24, serve.dollars_an_hour * 730
    assert f"| {serve.dollars_an_hour} an hour: {day:.2f} a day, about {month:.0f} a month" in AZURE
    ceiling = Settings.model_fields["azure_max_job_cost"].default
    assert f"({ceiling}) buys, {ceiling / train.dollars_an_hour:.1f} hours" in AZURE
