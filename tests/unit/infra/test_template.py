"""The Bicep sources and the compiled template that is submitted."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from azure_emulator.bicep import compiler
from tests.support.evaluated_template import TEMPLATE, needs_compiler

INFRA = compiler.PROJECT / "infra"


def compiled() -> dict[str, Any]:
    return json.loads(TEMPLATE.read_text())


def templates(template: dict[str, Any], name: str = "main") -> dict[str, dict[str, Any]]:
    """Return a template and its modules' templates by name."""
    found = {name: template}
    for symbol, resource in template["resources"].items():
        if resource["type"] == "Microsoft.Resources/deployments":
            found |= templates(resource["properties"]["template"], symbol)
    return found


def without_generator(value: Any) -> Any:
    """Return the template without the compiler's release."""
    if isinstance(value, dict):
        return {key: without_generator(item) for key, item in value.items() if key != "_generator"}
    return [without_generator(item) for item in value] if isinstance(value, list) else value


@needs_compiler
@pytest.mark.parametrize("name", ["main", "chat"])
def test_the_committed_template_is_what_the_compiler_makes_without_a_warning(name: str):
    made = json.loads(compiler.build(INFRA / f"{name}.bicep"))

    assert without_generator(json.loads((INFRA / f"{name}.json").read_text())) == without_generator(made), (
        "run: python -m azure_emulator.bicep.compiler"
    )


@needs_compiler
def test_every_source_lints_without_a_warning():
    assert compiler.without_a_warning("lint", "--pattern", str(INFRA / "**/*.bicep")) == ""


@needs_compiler
def test_every_source_is_formatted(tmp_path: Path):
    formatted = shutil.copytree(INFRA, tmp_path / "infra")
    compiler.run("format", "--pattern", str(formatted / "**/*.bicep"))

    for source in INFRA.rglob("*.bicep"):
        assert source.read_text() == (formatted / source.relative_to(INFRA)).read_text(), f"bicep format {source}"


@needs_compiler
@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        ("allowSharedKeyAccess: allow", "allowSharedKeyAcces: allow", "BCP089"),
        ("minimumTlsVersion: 'TLS1_2'", "minimumTlsVersion: 12", "BCP036"),
        ("location: location", "location: 'eastus2'", "no-hardcoded-location"),
    ],
)
def test_a_mistake_in_a_source_does_not_compile(tmp_path: Path, right: str, wrong: str, code: str):
    shutil.copytree(INFRA, tmp_path / "infra")
    source = tmp_path / "infra/modules/storage_account.bicep"
    text = source.read_text()
    assert right in text
    source.write_text(text.replace(right, wrong))

    with pytest.raises(compiler.TemplateRefused, match=code):
        compiler.build(tmp_path / "infra/main.bicep")


def test_there_is_one_module_a_resource():
    modules = {path.stem for path in (INFRA / "modules").glob("*.bicep")}

    assert modules == {
        "storage_account",
        "key_vault",
        "log_analytics",
        "application_insights",
        "container_registry",
        "managed_identity",
        "ml_workspace",
        "role_assignments",
        "chat_database",
        "chat_environment",
        "chat_role_assignments",
    }


def test_every_parameter_and_output_is_described():
    for name, template in templates(compiled()).items():
        assert template["metadata"]["description"], name
        for kind in ("parameters", "outputs"):
            for key, value in template.get(kind, {}).items():
                assert value["metadata"]["description"].endswith("."), f"{kind[:-1]} {key} of {name} is not described"


def test_only_a_name_a_region_and_a_principal_are_needed():
    needed = {name for name, parameter in compiled()["parameters"].items() if "defaultValue" not in parameter}

    assert needed == {"environmentName", "location", "principalId"}


def test_no_parameter_or_output_is_a_secret():
    for name, template in templates(compiled()).items():
        for kind in ("parameters", "outputs"):
            assert not [key for key, value in template.get(kind, {}).items() if "secure" in value["type"].lower()], name
    assert not re.search(r"list(Keys|Secrets|AccountSas|Credentials)?\(", TEMPLATE.read_text())
