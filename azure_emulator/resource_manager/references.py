"""Run-time `reference(...)` in evaluated templates: finds them, orders resources by them, and resolves them.

Microsoft's engine has already evaluated everything else in the template.
"""

import re
from typing import Any

from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.resource_ids import parent_of
from azure_emulator.resource_manager.resources import Resources

_CALL = r"reference\('(?P<id>[^']+)'(?:,\s*'(?P<version>[^']*)')?(?:,\s*'(?P<full>[Ff]ull)')?\)"
_ONE = _CALL + r"(?P<path>(?:\.\w+|\['[^']+'\]|\[\d+\])*)"
_REFERENCE = re.compile(_ONE)
_WHOLE = re.compile(rf"\[{_ONE}\]")
_FORMAT = re.compile(
    rf"\[format\('(?P<text>(?:[^']|'')*)'(?P<arguments>(?:,\s*(?:{_ONE.replace('?P<', '?P<x_')}|'(?:[^']|'')*'))+)\)\]"
)
_STEP = re.compile(r"\.(\w+)|\['([^']+)'\]|\[(\d+)\]")
_ARGUMENT = re.compile(rf"({_ONE})|'((?:[^']|'')*)'")


def needs(predicted: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Return, by lower-cased resource id, the ids of the resources that it references, and of its parents."""
    ids = {resource["id"].lower() for resource in predicted}
    found: dict[str, set[str]] = {}
    for resource in predicted:
        id = resource["id"].lower()
        found[id] = _named(resource, ids - {id})
        parent = parent_of(id)
        while parent:
            found[id] |= {parent} & ids
            parent = parent_of(parent)
    return found


def in_order(predicted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the resources in dependency order. Raises AzureError for a cycle."""
    needed, by_id = needs(predicted), {resource["id"].lower(): resource for resource in predicted}
    done: list[str] = []
    while len(done) < len(by_id):
        ready = [id for id in by_id if id not in done and needed[id] <= set(done)]
        if not ready:
            cycle = sorted(set(by_id) - set(done))
            raise AzureError(400, "InvalidTemplate", f"Circular dependency detected on resource: '{cycle[0]}'.")
        done.extend(ready)
    return [by_id[id] for id in done]


def resolve(value: Any, resources: Resources) -> Any:
    """Return the value with run-time references replaced by the resources' current values. Raises AzureError."""
    if isinstance(value, dict):
        return {key: resolve(inner, resources) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolve(inner, resources) for inner in value]
    if not isinstance(value, str) or "reference(" not in value or not value.startswith("["):
        return value
    whole = _WHOLE.fullmatch(value)
    if whole:
        return _look_up(whole.groupdict(), resources)
    formatted = _FORMAT.fullmatch(value)
    if formatted:
        return _format(formatted["text"], formatted["arguments"], resources)
    raise AzureError(
        400,
        "InvalidTemplate",
        f"The local Azure resolves [reference('id', 'version').path] and [format(...)] of such, not {value}.",
    )


def has_reference(value: Any) -> bool:
    """Return whether the value contains a run-time reference."""
    if isinstance(value, dict):
        return any(has_reference(inner) for inner in value.values())
    if isinstance(value, list):
        return any(has_reference(inner) for inner in value)
    return isinstance(value, str) and value.startswith("[") and _REFERENCE.search(value) is not None


def _look_up(found: dict[str, str | None], resources: Resources) -> Any:
    resource = resources.find(str(found["id"]))
    if resource is None:
        raise AzureError(404, "ResourceNotFound", f"The Resource '{found['id']}' under reference() was not found.")
    value: Any = resource.shown() if found["full"] else resource.shown().get("properties", {})
    for step in _STEP.finditer(found["path"] or ""):
        name, quoted, index = step.groups()
        try:
            value = value[int(index)] if index else value[name or quoted]
        except (KeyError, IndexError, TypeError) as e:
            raise AzureError(
                400,
                "InvalidTemplate",
                f"The language expression property '{step.group(0)}' doesn't exist in reference('{found['id']}').",
            ) from e
    return value


def _format(text: str, arguments: str, resources: Resources) -> str:
    values = []
    for found in _ARGUMENT.finditer(arguments):
        values.append(
            _look_up(found.groupdict(), resources) if found.group("id") else found.groups()[-1].replace("''", "'")
        )
    return re.sub(r"\{(\d+)\}", lambda m: str(values[int(m.group(1))]), text.replace("''", "'"))


def _named(value: Any, ids: set[str]) -> set[str]:
    """Return the ids that occur in any text of the value."""
    if isinstance(value, dict):
        return set().union(
            *(_named(inner, ids) for key, inner in value.items() if key != "id"), *(_named(key, ids) for key in value)
        )
    if isinstance(value, list):
        return set().union(*(_named(inner, ids) for inner in value))
    if not isinstance(value, str):
        return set()
    text = value.lower()
    return {id for id in ids if id in text and re.search(re.escape(id) + r"(?![\w\-./])", text)}
