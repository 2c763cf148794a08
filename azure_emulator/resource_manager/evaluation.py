"""Templates evaluated by Microsoft's own engine (`bicep snapshot`), or, without a compiler, looked up.

The committed files under `evaluated/` are what the compiler made of our own main.json with the parameters of the local
Azure; a test keeps them fresh. What this machine's compiler evaluated stays in `evaluated/kept/`, out of version
control: many tests, each with a local Azure of its own, deploy the same.
"""

import hashlib
import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from azure_emulator.bicep import compiler as bicep
from azure_emulator.identity.identities import SUBSCRIPTION
from azure_emulator.messages import AzureError

# Stands in a committed evaluation for the template's own hash, which is a parameter of it.
HASH_MARKER = "hash-of-the-template"
FOLDER = Path(__file__).parent / "evaluated"
KEPT = FOLDER / "kept"


class Evaluator:
    """Evaluates a template once per template, parameters and place, for all that share the folder `kept`."""

    def __init__(self, kept: Path = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = {}

    def evaluate(
        self, template: dict[str, Any], parameters: dict[str, Any], location: str, group: str | None
    ) -> dict[str, Any]:
        """`predictedResources` and `outputs`; run-time references stay as text. Raises AzureError."""
        key = digest(template, parameters, location, group)
        with self._lock:
            if key not in self._known:
                self._known[key] = self._make(template, parameters, location, group)
            return self._known[key]

    def _make(
        self, template: dict[str, Any], parameters: dict[str, Any], location: str, group: str | None
    ) -> dict[str, Any]:
        _require_parameters(template, parameters)
        compiler = bicep.compiler()
        if compiler is None:
            return committed(template, parameters, location, group)
        asked = (template, parameters, location, group)
        version = (str(compiler), compiler.stat().st_size, compiler.stat().st_mtime_ns)
        path = self._kept / f"{digest(*asked, SUBSCRIPTION, *version)}.json"
        if not path.is_file():
            _keep(path, _compiled(*asked))
        return json.loads(path.read_text())


def _compiled(template: dict[str, Any], parameters: dict[str, Any], location: str, group: str | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "main.json")
        path.write_text(json.dumps(template))
        extra = {"resource_group": group} if group else {}
        try:
            return bicep.snapshot(path, parameters, SUBSCRIPTION, location, **extra)
        except Exception as e:  # whatever the compiler dislikes is the template's fault
            raise AzureError(400, "InvalidTemplate", f"Deployment template validation failed: '{e}'.") from e


def _keep(path: Path, found: dict[str, Any]) -> None:
    # Whole or not at all: other servers read and write the same folder.
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:
        json.dump(found, draft)
    os.replace(draft.name, path)


def digest(*given: object) -> str:
    """A name for an evaluation: SHA-256 of everything that goes in, first 24 characters."""
    text = json.dumps(given, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _require_parameters(template: dict[str, Any], parameters: dict[str, Any]) -> None:
    declared = template.get("parameters") or {}
    extra = sorted(set(parameters) - set(declared))
    if extra:
        raise AzureError(
            400,
            "InvalidTemplate",
            f"Deployment template validation failed: 'The template parameters '{', '.join(extra)}' in the parameters "
            "file are not valid; they are not present in the original template and can therefore not be provided at "
            "deployment time.'.",
        )
    missing = sorted(
        n for n, p in declared.items() if "defaultValue" not in p and not p.get("nullable") and n not in parameters
    )
    if missing:
        raise AzureError(
            400,
            "InvalidTemplate",
            f"Deployment template validation failed: 'The value for the template parameter '{missing[0]}' is not "
            "provided.'.",
        )


def committed(template: dict[str, Any], parameters: dict[str, Any], location: str, group: str | None) -> dict[str, Any]:
    """What was evaluated before, with this deployment's own templateHash. Raises AzureError."""
    marked = {**parameters, "templateHash": HASH_MARKER}
    path = FOLDER / f"{digest(template, marked, location, group)}.json"
    if not path.is_file():
        raise AzureError(
            400,
            "InvalidTemplate",
            "The local Azure cannot evaluate this template: there is no Bicep compiler (BICEP, PATH, ~/.azure/bin) and "
            f"no committed evaluation {path.name}. Install it: az bicep install.",
        )
    return json.loads(path.read_text().replace(HASH_MARKER, str(parameters.get("templateHash", ""))))
