"""`python -m azure_emulator.resource_manager.evaluated` stores the compiler's evaluations of the templates in infra/.

Without a compiler, the local Azure can deploy infra/main.json only with `PARAMETERS` in each of `MODES`, and
infra/chat.json only with `CHAT_PARAMETERS`.
"""

import json
from typing import Any

from azure_emulator.bicep import compiler
from azure_emulator.identity.identities import LOCATION, NAME, SUBSCRIPTION, USER
from azure_emulator.resource_manager.evaluation import FOLDER, HASH_MARKER, digest

TEMPLATE = compiler.PROJECT / "infra" / "main.json"
CHAT = TEMPLATE.with_name("chat.json")
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
CHAT_PARAMETERS = {name: PARAMETERS[name] for name in ("environmentName", "location", "principalId", "templateHash")}


def committed() -> dict[str, dict[str, Any]]:
    """Return the stored evaluations by file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def fresh() -> dict[str, dict[str, Any]]:
    """Return new evaluations by the compiler, by file name."""
    made = {}
    for path, values in (
        *((TEMPLATE, {**PARAMETERS, "accessMode": mode}) for mode in MODES),
        (CHAT, CHAT_PARAMETERS),
    ):
        name = f"{digest(json.loads(path.read_text()), values, LOCATION, None)}.json"
        made[name] = compiler.snapshot(path, values, SUBSCRIPTION, LOCATION)
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
