"""Evaluates templates with Microsoft's own engine (`bicep snapshot`), or looks up stored results without a compiler.

The committed files under `evaluated/` are the compiler's results for infra/main.json with the parameters of the local
Azure; a test checks that they are up to date. Results of this machine's compiler are cached in `evaluated/kept/`,
outside version control, because many tests deploy the same template, each to its own emulator.
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

# Placeholder in committed evaluations for the template's own hash, which is one of its parameters.
HASH_MARKER = "hash-of-the-template"
FOLDER = Path(__file__).parent / "evaluated"
KEPT = FOLDER / "kept"


class Evaluator:
    """Evaluates templates, with a cache by template, parameters and location in the folder `kept`."""

    def __init__(self, kept: Path = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = {}

    def evaluate(
        self, template: dict[str, Any], parameters: dict[str, Any], location: str, group: str | None
    ) -> dict[str, Any]:
        """Return `predictedResources` and `outputs`; run-time references stay as text. Raises AzureError."""
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
        except Exception as e:  # any compiler error is an error of the template
            raise AzureError(400, "InvalidTemplate", f"Deployment template validation failed: '{e}'.") from e


def _keep(path: Path, found: dict[str, Any]) -> None:
    # Atomic, because other servers read and write the same folder.
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:
        json.dump(found, draft)
    os.replace(draft.name, path)


def digest(*given: object) -> str:
    """Return the first 24 characters of the SHA-256 of all inputs."""
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
    """Return the committed evaluation with this deployment's templateHash. Raises AzureError if there is none."""
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
