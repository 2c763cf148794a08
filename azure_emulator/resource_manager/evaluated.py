"""`python -m azure_emulator.resource_manager.evaluated` stores the Bicep compiler's evaluations of infra/main.json.

Without a compiler, the local Azure can deploy the template only with `PARAMETERS` in each of `MODES`.
"""

import json
from typing import Any

from azure_emulator.bicep import compiler
from azure_emulator.identity.identities import LOCATION, NAME, SUBSCRIPTION, USER
from azure_emulator.resource_manager.evaluation import FOLDER, HASH_MARKER, digest

TEMPLATE = compiler.PROJECT / "infra" / "main.json"
# The parameters of `make azure-local` for a user principal; MODES are without and with keys.
PARAMETERS: dict[str, Any] = {
    "environmentName": NAME,
    "location": LOCATION,
    "principalId": USER,
    "principalType": "User",
    "purgeProtection": False,
    "templateHash": HASH_MARKER,
}
MODES = ("keyless", "guide")


def committed() -> dict[str, dict[str, Any]]:
    """Return the stored evaluations by file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def fresh() -> dict[str, dict[str, Any]]:
    """Return new evaluations by the compiler, by file name."""
    template = json.loads(TEMPLATE.read_text())
    made = {}
    for mode in MODES:
        values = {**PARAMETERS, "accessMode": mode}
        name = f"{digest(template, values, LOCATION, None)}.json"
        made[name] = compiler.snapshot(TEMPLATE, values, SUBSCRIPTION, LOCATION)
    return made


def write() -> None:
    """Replace the stored evaluations by new ones."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for name, snapshot in fresh().items():
        (FOLDER / name).write_text(json.dumps(snapshot, indent=2) + "\n")


if __name__ == "__main__":
    write()
