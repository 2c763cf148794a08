"""The models that can be asked, and what is known of each version: a file that the project writes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chat_code.conversations import Served

TUNED, BASE = "tuned", "base"


@dataclass(frozen=True)
class Facts:
    """Reads the file whenever it has changed. Without a file nothing is known, and every model can be asked.

    The file: `{"models": {"tuned": {"name", "version", "deployment", "since"}}, "versions": {"<version>": {"served":
    {...}, "facts": [{"name", "value", "note"}]}}, "examples": [...], "compare_note": ""}`.
    """

    path: Path | None = None

    def read(self) -> dict[str, Any]:
        """Return the file's content; empty when it cannot be read."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8")) if self.path else {}
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def model(self, model: str) -> dict[str, Any]:
        """Return the name, version, deployment and start of a model, as `GET /api/me` has them."""
        known = self.read().get("models", {}).get(model, {})
        return {
            "id": model,
            "name": str(known.get("name", "")),
            "version": str(known.get("version", "")),
            "deployment": str(known.get("deployment", "")),
            "since": known.get("since"),
        }

    def complete(self, served: Served) -> Served:
        """Return the origin of an answer with what the project knows of this model version."""
        known = self.read().get("versions", {}).get(served.model_version, {}).get("served", {})
        names = ("model_digest", "dataset_digest", "dagster_run")
        return replace(served, **{name: str(known[name]) for name in names if known.get(name)})

    def facts_of(self, served: Served) -> list[dict[str, str]]:
        """Return what is shown under "why this answer"."""
        found = self.read().get("versions", {}).get(served.model_version, {}).get("facts", [])
        return [
            {name: str(fact.get(name, "")) for name in ("name", "value", "note")}
            for fact in found
            if isinstance(fact, dict)
        ]
