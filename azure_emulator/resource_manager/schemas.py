"""Bodies held to Microsoft's official ARM template schemas, where a copy of them is beside the project.

Used as they come, these schemas refuse valid bodies (a closed base inside `allOf` knows nothing of its variants) and
let misspelt keys pass (most objects are open), so each is rewritten first: see `strict`.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT7

from azure_emulator.messages import AzureError

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "specs" / "arm"
# What a template needs around a resource; a client's PUT has them in its address.
_AROUND = frozenset({"name", "type", "apiVersion", "resources", "dependsOn", "comments", "condition", "scope"})
_REQUIRED = "[a-zA-Z0-9_]"
# Written as if the keys were the object itself; Microsoft's own samples and clients put them under `keys`.
_CORRECTED: dict[str, Any] = {
    "CustomKeys": {
        "type": "object",
        "properties": {"keys": {"type": "object", "additionalProperties": {"type": "string"}}},
        "required": ["keys"],
    }
}
# Versions that clients send and of which there is no copy, with the copy that stands in for each.
_STAND_INS = {("microsoft.resources/deployments", "2026-06-01"): "2025-04-01"}  # azure-mgmt-resource-deployments 2.0


class Schemas:
    """The schema of each type and api-version; without the folder, everything passes."""

    def check(self, type: str, api_version: str, body: dict[str, Any]) -> None:
        """Raises InvalidRequestContent that names the first wrong place, or NoRegisteredProviderFound."""
        validator = validator_of(type, _STAND_INS.get((type.lower(), api_version), api_version))
        if validator is None:
            _require_none(type, api_version, body)
            return
        whole = {"properties": {}, **_without_nulls(body)}
        errors = sorted(validator.iter_errors(whole), key=lambda e: (-len(e.absolute_path), str(e.message)))
        if errors:
            deepest = _deepest(errors[0])
            place = ".".join(str(step) for step in deepest.absolute_path) or "the body"
            raise AzureError(
                400,
                "InvalidRequestContent",
                f"The request content of {type} ({api_version}) was invalid: {place}: {deepest.message[:300]}",
                target=place,
            )


def _require_none(type: str, api_version: str, body: dict[str, Any]) -> None:
    """Raises NoRegisteredProviderFound when there is a schema of the type in another version."""
    offered = versions_of(type)
    if offered:
        raise AzureError(
            400,
            "NoRegisteredProviderFound",
            f"No registered resource provider found for location '{body.get('location') or ''}' and API version "
            f"'{api_version}' for type '{type.partition('/')[2]}'. The supported api-versions are "
            f"'{', '.join(offered)}'.",
        )


@cache
def versions_of(type: str) -> list[str]:
    """The api-versions of the type's schemas, oldest first."""
    return [path.parent.name for path in _files(type, "*") if _places(type, json.loads(path.read_text()))]


def _files(type: str, api_version: str) -> list[Path]:
    namespace = f"{type.partition('/')[0].lower()}."
    return [path for path in sorted(FOLDER.glob(f"{api_version}/*.json")) if path.name.lower().startswith(namespace)]


def _places(type: str, document: dict[str, Any]) -> list[tuple[str, str]]:
    """Section and name of each definition of the type: one for each kind of scope."""
    wanted = type.partition("/")[2].replace("/", "_").lower()
    sections = (section for section in document if section.lower().endswith("resourcedefinitions"))
    return [(section, name) for section in sections for name in document[section] if name.lower() == wanted]


@cache
def validator_of(type: str, api_version: str) -> Draft7Validator | None:
    """The strict validator of a type's body; None when there is no schema for it."""
    for path in _files(type, api_version):
        document, identifier = _document(path)
        for section, name in _places(type, document):
            return Draft7Validator({"$ref": f"{identifier}#/{section}/{name}"}, registry=_registry(path))
    return None


@cache
def _document(path: Path) -> tuple[dict[str, Any], str]:
    raw = json.loads(path.read_text())
    identifier = f"urn:arm:{path.parent.name}:{path.name}"
    document: dict[str, Any] = {"$schema": "http://json-schema.org/draft-07/schema#"}
    for section, definitions in raw.items():
        if section.lower().endswith("definitions"):
            whole = section != "definitions"
            document[section] = {
                name: strict(_body(definition) if whole else _shut(definition), raw)
                for name, definition in {**definitions, **({} if whole else _CORRECTED)}.items()
            }
    return document, identifier


@cache
def _registry(path: Path) -> Registry:
    document, identifier = _document(path)
    return Registry().with_resource(identifier, DRAFT7.create_resource(document))


def _body(definition: dict[str, Any]) -> dict[str, Any]:
    """A resource's schema as a client sends it: without what the address says."""
    properties = {k: v for k, v in definition.get("properties", {}).items() if k not in _AROUND}
    required = [k for k in definition.get("required", []) if k not in _AROUND]
    # A type without properties takes an empty object, which is what we add to a body that has none.
    return {**definition, "properties": {"properties": {"maxProperties": 0}, **properties}, "required": required}


def _shut(definition: dict[str, Any]) -> dict[str, Any]:
    """A named type without properties takes none; an unnamed one is a free object."""
    if definition.get("properties") == {} and "additionalProperties" not in definition:
        return {**definition, "additionalProperties": False}
    return definition


def strict(schema: Any, document: dict[str, Any]) -> Any:
    """The schema with free expressions dropped, bases merged with their variants, and every object closed."""
    if isinstance(schema, list):
        return [strict(inner, document) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    if "oneOf" in schema:
        choices = [choice for choice in schema["oneOf"] if not choice.get("$ref", "").endswith("/expression")]
        if len(choices) == 1 and "properties" not in schema:
            return strict(choices[0], document)
        if "properties" in schema:
            return _by_variant({k: v for k, v in schema.items() if k != "oneOf"}, choices, document)
        return {"anyOf": strict(choices, document)}
    if "allOf" in schema:
        base, *others = schema["allOf"]
        if len(others) == 1 and "oneOf" in others[0]:
            return _by_variant(_resolved(base, document), others[0]["oneOf"], document)
        return strict(_merged([_resolved(part, document) for part in schema["allOf"]]), document)
    return _closed(schema, document)


def _by_variant(base: dict[str, Any], variants: list[dict[str, Any]], document: dict[str, Any]) -> dict[str, Any]:
    """One complete, closed schema for each value of the discriminator."""
    cases, values = [], []
    discriminator = None
    for variant in variants:
        parts = [_resolved(part, document) for part in variant.get("allOf", [variant])]
        whole = _merged([base, *parts])
        discriminator, value = _discriminator(parts)
        if discriminator is None:
            return {
                "anyOf": [
                    strict(_merged([base, *(_resolved(p, document) for p in v.get("allOf", [v]))]), document)
                    for v in variants
                ]
            }
        whole["properties"][discriminator] = {"const": value}
        values.append(value)
        told = {"properties": {discriminator: {"const": value}}, "required": [discriminator]}
        cases.append({"if": told, "then": strict(whole, document)})
    return {
        "type": "object",
        "required": [discriminator],
        "properties": {discriminator: {"enum": values}},
        "allOf": cases,
    }


def _discriminator(parts: list[dict[str, Any]]) -> tuple[str | None, Any]:
    for part in reversed(parts):
        for name, schema in part.get("properties", {}).items():
            if "const" in schema:
                return name, schema["const"]
            plain = schema.get("oneOf", [schema])[0]
            if len(plain.get("enum", [])) == 1:
                return name, plain["enum"][0]
    return None, None


def _merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One object schema with the properties of all."""
    whole: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    for part in parts:
        whole["properties"] = {**whole["properties"], **part.get("properties", {})}
        whole["required"] = sorted({*whole["required"], *part.get("required", [])})
    return whole


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    found = re.fullmatch(r"#/definitions/(.+)", schema.get("$ref", ""))
    return document["definitions"][found[1]] if found else schema


def _closed(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return {"$ref": schema["$ref"]} if schema["$ref"].startswith("#") else {}
    closed = {k: v for k, v in schema.items() if k not in ("description", "$schema", "id", "title")}
    if closed.get("pattern") == _REQUIRED:
        # How the schemas write "not empty"; an inference config's scoring route is "/" in deployments that run.
        del closed["pattern"]
    if closed.get("additionalProperties") == {"type": "string"}:
        # Azure's services read a number as text there; azure-ai-ml sends hash_version as one.
        closed["additionalProperties"] = {"type": ["string", "number", "boolean"]}
    for key in ("items", "additionalProperties"):
        if isinstance(closed.get(key), dict):
            closed[key] = strict(closed[key], document)
    if isinstance(closed.get("properties"), dict):
        closed["properties"] = {name: strict(inner, document) for name, inner in closed["properties"].items()}
        if closed["properties"]:
            closed.setdefault("additionalProperties", False)
    return closed


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _deepest(error: ValidationError) -> ValidationError:
    """Of the alternatives that failed, the one that got furthest."""
    while error.context:
        error = max(error.context, key=lambda e: len(e.absolute_path))
    return error
