"""The Bicep compiler gives the same results as a running server and as a command."""

import stat
from pathlib import Path
from typing import Any

import pytest

from azure_emulator.bicep import compiler, warm_compiler
from tests.support.evaluated_template import DEPLOYER, LOCATION, SUBSCRIPTION, TEMPLATE, needs_compiler

GIVEN = {"environmentName": "phi-local", "location": LOCATION, "principalId": DEPLOYER}
GROUP = """
param tier string
resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: 'st${uniqueString(resourceGroup().id)}'
  location: resourceGroup().location
  kind: 'StorageV2'
  sku: { name: tier }
}
"""


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that the compiler was run with."""
    asked: list[str] = []
    real = compiler.run
    monkeypatch.setattr(compiler, "run", lambda command, *given: asked.append(command) or real(command, *given))
    return asked


def not_kept(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Use a compiler that cannot run as a server."""
    old = folder / "bicep"
    old.write_text(f'#!/bin/sh\n[ "$1" = jsonrpc ] && exit 1\nexec "{compiler.compiler()}" "$@"\n')
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(compiler, "compiler", lambda: old)


@needs_compiler
def test_one_that_is_kept_running_answers_as_the_command_does(tmp_path: Path, monkeypatch, commands: list[str]):
    template = tmp_path / "group.bicep"
    template.write_text(GROUP)

    def found() -> list[dict[str, Any]]:
        whole = compiler.snapshot(TEMPLATE, GIVEN, SUBSCRIPTION, LOCATION)
        tier = {"tier": "Standard_LRS"}
        return [whole, compiler.snapshot(template, tier, SUBSCRIPTION, LOCATION, resource_group="rg-a")]

    kept = found()
    assert commands == []
    assert kept[1]["predictedResources"][0]["id"].startswith(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-a/")

    not_kept(monkeypatch, tmp_path)
    assert found() == kept
    assert commands == ["snapshot", "snapshot"]


@needs_compiler
def test_what_it_refuses_it_refuses_in_the_words_of_the_command(tmp_path: Path, monkeypatch, commands: list[str]):
    wrong = {"environmentName": "phi-local", "location": LOCATION, "accessMode": "wrong"}

    def words() -> list[str]:
        with pytest.raises(compiler.TemplateRefused) as refused:
            compiler.snapshot(TEMPLATE, wrong, SUBSCRIPTION, LOCATION)
        return [line.partition("deployment.bicepparam")[2] for line in str(refused.value).splitlines()]

    kept = words()
    assert compiler.snapshot(TEMPLATE, GIVEN, SUBSCRIPTION, LOCATION)["predictedResources"]
    assert commands == []
    assert [code for line in kept for code in ("BCP033", "BCP258") if code in line] == ["BCP258", "BCP033"]

    not_kept(monkeypatch, tmp_path)
    assert words()[:2] == kept
    assert commands == ["snapshot"]


@needs_compiler
def test_one_that_breaks_off_is_not_waited_for(tmp_path: Path, monkeypatch, commands: list[str]):
    made = compiler.snapshot(TEMPLATE, GIVEN, SUBSCRIPTION, LOCATION)
    broken = warm_compiler._Compiler(Path("/bin/false"))
    monkeypatch.setattr(warm_compiler, "_running", lambda path: broken)
    assert compiler.snapshot(TEMPLATE, GIVEN, SUBSCRIPTION, LOCATION) == made
    assert commands == ["snapshot"]
