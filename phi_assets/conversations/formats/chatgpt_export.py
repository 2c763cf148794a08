"""Reads the conversations of a ChatGPT export: a tree of messages, of which the last edited branch counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phi_assets.conversations.rows import Rejected

_SAID = ("system", "user", "assistant")


def is_export(row: Mapping[str, Any]) -> bool:
    mapping = row.get("mapping")
    return isinstance(mapping, dict) and any(
        isinstance(node, dict) and {"message", "parent", "children"} & set(node) for node in mapping.values()
    )


def turns_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The turns of the branch that ends at `current_node`, as role/content objects. Raises Rejected.

    Hidden, empty and unfinished messages are left out; what a tool said, or was told, makes the row unsupported.
    """
    nodes: Mapping[str, Any] = row["mapping"]
    name = row.get("current_node")
    if name not in nodes:
        name = next((each for each, node in nodes.items() if not node.get("children")), None)
    branch: list[dict[str, Any]] = []
    seen = set[str]()
    while isinstance(name, str) and name in nodes and name not in seen:
        seen.add(name)
        if isinstance(message := nodes[name].get("message"), dict):
            branch.append(message)
        name = nodes[name].get("parent")
    turns = [_turn(message) for message in reversed(branch) if _is_said(message)]
    return [turn for turn in turns if turn["content"].strip()]


def _is_said(message: Mapping[str, Any]) -> bool:
    hidden = (message.get("metadata") or {}).get("is_visually_hidden_from_conversation")
    content = message.get("content") or {}
    return not hidden and message.get("weight") != 0 and any(content.get(key) for key in ("parts", "text", "result"))


def _turn(message: Mapping[str, Any]) -> dict[str, Any]:
    role, content = (message.get("author") or {}).get("role"), message["content"]
    kind = content.get("content_type", "text")
    if role not in _SAID or message.get("recipient", "all") != "all" or kind not in ("text", "multimodal_text"):
        raise Rejected("tool_call", "unsupported", f"a message of {role!r:.40} with content {kind!r:.40}")
    parts = content.get("parts") or [content.get("text") or ""]
    if not all(isinstance(part, str) for part in parts):
        raise Rejected("image", "unsupported", f"a message of {role} has a part that is not text")
    return {"role": role, "content": "\n".join(parts)}
