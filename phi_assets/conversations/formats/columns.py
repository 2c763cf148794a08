"""Other people's names for our columns and roles: PHI_COLUMNS, and the synonyms that need no setting."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

COLUMNS = (
    "messages", "conversations", "role", "content", "from", "value", "system", "user", "assistant",
    "instruction", "input", "output", "history", "prompt", "completion",
)  # fmt: skip
"""The names that a mapping may rename; `system`, `user` and `assistant` also stand for words that name a role."""

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
    "model": "assistant", "bot": "assistant", "ai": "assistant",
}  # fmt: skip
TOOL_ROLES = frozenset({"tool", "tools", "function", "function_call", "tool_call", "function_response", "tool_response",
                        "observation", "ipython", "environment"})  # fmt: skip


def check_columns(columns: Mapping[str, str]) -> None:
    """Raise ValueError for a mapping from a name that isn't ours, or to nothing; the error names the nearest one."""
    for ours, theirs in columns.items():
        if ours not in COLUMNS:
            near = difflib.get_close_matches(ours, COLUMNS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(COLUMNS)}"
            raise ValueError(f"PHI_COLUMNS maps the unknown name {ours!r}; {hint} (it maps our names to the data's)")
        if not isinstance(theirs, str) or not theirs:
            raise ValueError(f"PHI_COLUMNS maps {ours!r} to {theirs!r}; give the name that the data uses")


def renamed(value: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The object with the data's names replaced by ours, on this level only."""
    result = dict(value)
    for ours, theirs in columns.items():
        if theirs != ours and theirs in value:
            if result.get(theirs) is value[theirs]:
                del result[theirs]
            result[ours] = value[theirs]
    return result


def roles(columns: Mapping[str, str]) -> dict[str, str]:
    """Every word that names a role, in lower case, with the role that it names."""
    own = {columns[role].casefold(): role for role in ("system", "user", "assistant") if role in columns}
    return {**ROLES, **own}
