"""`python -m azure_emulator.resource_manager.evaluated` stores what the Bicep compiler makes of infra/main.json.

Machines without a compiler use what is stored.

The local Azure then deploys the template with the parameters of `PARAMETERS` and their variants, and no others.
"""

import json
from typing import Any

from azure_emulator.bicep import compiler
from azure_emulator.identity.identities import LOCATION, NAME, SUBSCRIPTION, USER
from azure_emulator.resource_manager.evaluation import FOLDER, HASH_MARKER, digest

TEMPLATE = compiler.PROJECT / "infra" / "main.json"
# The name that `make azure-local` uses, as the product sends it for a person: in both modes, keys off and on.
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
    """The evaluations that are in the folder, by file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def fresh() -> dict[str, dict[str, Any]]:
    """The evaluations as the compiler makes them now, by file name."""
    template = json.loads(TEMPLATE.read_text())
    made = {}
    for mode in MODES:
        values = {**PARAMETERS, "accessMode": mode}
        name = f"{digest(template, values, LOCATION, None)}.json"
        made[name] = compiler.snapshot(TEMPLATE, values, SUBSCRIPTION, LOCATION)
    return made


def write() -> None:
    """The folder holds what is fresh, and nothing else."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for name, snapshot in fresh().items():
        (FOLDER / name).write_text(json.dumps(snapshot, indent=2) + "\n")


if __name__ == "__main__":
    write()
