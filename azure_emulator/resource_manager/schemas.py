"""Checks bodies against Microsoft's official ARM template schemas, if a copy of them is beside the project.

Unchanged, these schemas refuse valid bodies (a closed base inside `allOf` excludes the properties of its variants) and
accept misspelt keys (most objects are open), so each is rewritten first: see `strict`.
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
# Keys of a resource in a template; in a client's PUT they are in the URL.
_AROUND = frozenset({"name", "type", "apiVersion", "resources", "dependsOn", "comments", "condition", "scope"})
_REQUIRED = "[a-zA-Z0-9_]"
# CustomKeys: the schema puts the keys into the object itself; Microsoft's samples and clients put them under `keys`.
# ContainerResources: the schema has whole CPUs only; Microsoft's samples and clients send 0.5.
_CORRECTED: dict[str, Any] = {
    "ContainerResources": {
        "type": "object",
        "properties": {"cpu": {"type": "number"}, "memory": {"type": "string"}},
    },
    "CustomKeys": {
        "type": "object",
        "properties": {"keys": {"type": "object", "additionalProperties": {"type": "string"}}},
        "required": ["keys"],
    },
}
# Versions that clients send and that have no copy, with the version whose schema is used instead.
_STAND_INS = {("microsoft.resources/deployments", "2026-06-01"): "2025-04-01"}  # azure-mgmt-resource-deployments 2.0


class Schemas:
    """Checks bodies by type and api-version; without the folder, every body passes."""

    def check(self, type: str, api_version: str, body: dict[str, Any]) -> None:
        """Raise InvalidRequestContent with the first error's path, or NoRegisteredProviderFound."""
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
    """Raise NoRegisteredProviderFound if the type has schemas in other versions only."""
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
    """Return the api-versions of the type's schemas, oldest first."""
    return [path.parent.name for path in _files(type, "*") if _places(type, json.loads(path.read_text()))]


def _files(type: str, api_version: str) -> list[Path]:
    namespace = f"{type.partition('/')[0].lower()}."
    return [path for path in sorted(FOLDER.glob(f"{api_version}/*.json")) if path.name.lower().startswith(namespace)]


def _places(type: str, document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return section and name of each definition of the type: one per kind of scope."""
    wanted = type.partition("/")[2].replace("/", "_").lower()
    sections = (section for section in document if section.lower().endswith("resourcedefinitions"))
    return [(section, name) for section in sections for name in document[section] if name.lower() == wanted]


@cache
def validator_of(type: str, api_version: str) -> Draft7Validator | None:
    """Return the strict validator of a type's body, or None without a schema."""
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
                name: strict(_body(definition) if whole else _close_if_empty(definition), raw)
                for name, definition in {**definitions, **({} if whole else _CORRECTED)}.items()
            }
    return document, identifier


@cache
def _registry(path: Path) -> Registry:
    document, identifier = _document(path)
    return Registry().with_resource(identifier, DRAFT7.create_resource(document))


def _body(definition: dict[str, Any]) -> dict[str, Any]:
    """Return a resource's schema without the keys that are in the URL."""
    properties = {k: v for k, v in definition.get("properties", {}).items() if k not in _AROUND}
    required = [k for k in definition.get("required", []) if k not in _AROUND]
    # `check` adds empty properties to a body without any; a type without properties must accept that.
    return {**definition, "properties": {"properties": {"maxProperties": 0}, **properties}, "required": required}


def _close_if_empty(definition: dict[str, Any]) -> dict[str, Any]:
    """Close a named type without properties (an unnamed one is a free object)."""
    if definition.get("properties") == {} and "additionalProperties" not in definition:
        return {**definition, "additionalProperties": False}
    return definition


def strict(schema: Any, document: dict[str, Any]) -> Any:
    """Return the schema without template expressions, with bases merged into variants and all objects closed."""
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
    """Return one complete, closed schema per value of the discriminator."""
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
        matches = {"properties": {discriminator: {"const": value}}, "required": [discriminator]}
        cases.append({"if": matches, "then": strict(whole, document)})
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
    """Return one object schema with the properties of all parts."""
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
        # The schemas use this pattern for "not empty", but a valid scoring route is "/".
        del closed["pattern"]
    if closed.get("additionalProperties") == {"type": "string"}:
        # Azure accepts numbers as text here; azure-ai-ml sends hash_version as a number.
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
    """Return the failed alternative with the longest path."""
    while error.context:
        error = max(error.context, key=lambda e: len(e.absolute_path))
    return error
