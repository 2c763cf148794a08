"""Templates evaluated by Microsoft's engine, and the stored evaluations that replace it."""

import json
from typing import Any

import pytest

from azure_emulator.bicep import compiler
from azure_emulator.identity.identities import LOCATION, SUBSCRIPTION
from azure_emulator.messages import AzureError
from azure_emulator.resource_manager import evaluated, evaluation
from azure_emulator.resource_manager.evaluation import Evaluator
from azure_emulator.resource_manager.references import in_order, resolve
from azure_emulator.resource_manager.resources import Resources

needs_compiler = pytest.mark.skipif(compiler.compiler() is None, reason="no Bicep compiler")
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-a"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-a"
CLIENT_ID = f"reference('{IDENTITY}', '2023-01-31').clientId"


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "compiler", lambda: None)


@needs_compiler
def test_the_committed_evaluations_are_what_the_compiler_makes() -> None:
    assert evaluated.committed() == evaluated.fresh(), "run: python -m azure_emulator.resource_manager.evaluated"


@needs_compiler
def test_what_one_server_evaluated_another_reads_until_the_compiler_is_another(tmp_path, monkeypatch) -> None:
    values = {**evaluated.PARAMETERS, "accessMode": "guide", "templateHash": "abc"}
    asked = (json.loads(evaluated.TEMPLATE.read_text()), values, LOCATION, None)
    calls = []
    real = compiler.snapshot
    monkeypatch.setattr(compiler, "snapshot", lambda *given, **named: calls.append(given) or real(*given, **named))

    found = Evaluator(tmp_path).evaluate(*asked)
    assert Evaluator(tmp_path).evaluate(*asked) == found
    assert len(calls) == 1

    another = tmp_path / "bicep"
    another.symlink_to(compiler.compiler())
    monkeypatch.setattr(compiler, "compiler", lambda: another)
    assert Evaluator(tmp_path).evaluate(*asked) == found
    assert Evaluator(tmp_path).evaluate(asked[0], {**values, "environmentName": "other"}, LOCATION, None) != found
    assert len(calls) == 3


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("mode", evaluated.MODES)
def test_our_template_is_evaluated_without_a_compiler(mode: str) -> None:
    template = json.loads(evaluated.TEMPLATE.read_text())
    values = {**evaluated.PARAMETERS, "accessMode": mode, "templateHash": "abc"}
    found = Evaluator().evaluate(template, values, LOCATION, None)
    group = next(r for r in found["predictedResources"] if r["type"] == "Microsoft.Resources/resourceGroups")
    assert group["tags"]["phi-template-hash"] == "abc"
    assert evaluation.HASH_MARKER not in json.dumps(found)


@pytest.mark.usefixtures("no_compiler")
def test_another_template_without_a_compiler_says_how_to_get_one() -> None:
    with pytest.raises(AzureError, match="az bicep install"):
        Evaluator().evaluate({"resources": []}, {}, LOCATION, None)


def test_a_parameter_that_is_missing_or_unknown_is_named() -> None:
    template = {"parameters": {"name": {"type": "string"}}, "resources": []}
    with pytest.raises(AzureError, match="'name' is not provided"):
        Evaluator().evaluate(template, {}, LOCATION, None)
    with pytest.raises(AzureError, match="'nam'"):
        Evaluator().evaluate(template, {"name": "a", "nam": "b"}, LOCATION, None)


@needs_compiler
def test_a_template_that_the_engine_refuses_is_invalid() -> None:
    template = {"$schema": "x", "contentVersion": "1.0.0.0", "resources": [{"type": "nonsense"}]}
    with pytest.raises(AzureError, match="InvalidTemplate"):
        Evaluator().evaluate(template, {}, LOCATION, None)


def one(id: str, **properties: Any) -> dict[str, Any]:
    return {"id": id, "type": "a/b", "properties": properties}


def test_a_resource_comes_after_those_that_it_names_and_lies_in() -> None:
    child = one(f"{IDENTITY}/federatedIdentityCredentials/c")
    reader = one(f"{GROUP}/providers/a.b/c/reader", who=f"[{CLIENT_ID}]")
    order = [r["id"] for r in in_order([reader, child, one(IDENTITY), one(GROUP)])]
    assert order.index(GROUP) < order.index(IDENTITY) < order.index(child["id"])
    assert order.index(IDENTITY) < order.index(reader["id"])


def test_a_circle_is_refused() -> None:
    first, second = f"{GROUP}/providers/a.b/c/first", f"{GROUP}/providers/a.b/c/second"
    with pytest.raises(AzureError, match="Circular"):
        in_order([one(first, needs=second), one(second, needs=first)])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f"[{CLIENT_ID}]", "abc"),
        (f"[format('x/{{0}}/{{1}}', {CLIENT_ID}, 'it''s')]", "x/abc/it's"),
        (f"[reference('{IDENTITY}', '2023-01-31', 'full').location]", "eastus2"),
        (f"[reference('{IDENTITY}', '2023-01-31').list[1]['a']]", 2),
        ("plain", "plain"),
    ],
)
def test_a_run_time_reference_is_read_from_what_is_live(text: str, value: Any) -> None:
    resources = Resources()
    body = {"location": "eastus2", "properties": {"clientId": "abc", "list": [{"a": 1}, {"a": 2}]}}
    resources.keep(IDENTITY, body, "someone")
    assert resolve({"key": [text]}, resources) == {"key": [value]}


def test_a_reference_to_what_is_not_there_is_refused() -> None:
    with pytest.raises(AzureError, match="was not found"):
        resolve(f"[{CLIENT_ID}]", Resources())
