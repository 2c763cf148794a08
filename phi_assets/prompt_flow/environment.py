"""The environment variables of Prompt flow's processes: its packages, its state, and no telemetry or tracing."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from phi_assets import child_environment
from phi_assets.files import atomic_write, private_folder
from phi_assets.project import PROJECT
from phi_assets.prompt_flow import virtual_environment

# In the folder `prompt_flow` of a home: the connections, and the key that encrypts them.
DATABASE, KEYRING = "pf.sqlite", "keyring.cfg"
# Without `trace: none` every run leaves a trace server running on port 23333.
CONFIGURATION = """\
telemetry:
  enabled: false
trace:
  destination: none
connection:
  provider: local
"""
# Prompt flow asks PyPI for its latest version once a week; with an answer from the far future it never does.
VERSION_CHECK = '{"last_check_time": "2999-01-01 00:00:00.000000", "last_hint_time": "2999-01-01 00:00:00.000000"}'


def prompt_flow_environment(
    home: Path, log: Callable[[str], None] | None = None, *, signs_in: bool = False
) -> dict[str, str]:
    """Return the complete environment for a process that uses Prompt flow: the variables below, and no secret.

    With `signs_in` it gets the variables with which Azure's clients sign in. Prompt flow reads them when it is
    imported: set them for a new process, never in one that has imported it. `log` gets progress while its packages are
    installed. Raises PromptFlowFailed when they cannot be installed.
    """
    identity = (child_environment.IDENTITY,) if signs_in else ()
    inherited = child_environment.allowed(*child_environment.PROMPT_FLOW, *identity)
    return {**inherited, **prompt_flow_variables(home, log)}


def prompt_flow_variables(home: Path, log: Callable[[str], None] | None = None) -> dict[str, str]:
    """Return the variables that point to Prompt flow's packages and its state in `home`, without telemetry or tracing.

    Afterwards `<home>/prompt_flow` exists, readable by this user only, with Prompt flow's configuration in it. It holds
    the connections and the key that encrypts them, so two homes share nothing.

    `home` may lie anywhere. Only `pf flow build` needs it under the user's home folder, because it writes the path of
    the connection database relative to that; packages here are made without it.
    """
    packages = virtual_environment.ensure(home, log)
    folder = home.resolve() / "prompt_flow"
    private_folder(folder)
    _write_once(folder / "pf.yaml", CONFIGURATION)
    _write_once(folder / "pf_version_check.json", VERSION_CHECK)
    return {
        "PF_HOME_DIRECTORY": str(folder),
        # Prompt flow encrypts secrets with a key from the keyring, which servers lack: use a file, mode 0600.
        "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
        "KEYRING_PROPERTY_FILE_PATH": str(folder / KEYRING),
        "PF_TRACING_SKIP_LOCAL_SETUP": "true",
        "PF_DISABLE_TRACING": "true",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        # `fork` avoids a second import of Prompt flow (seconds of CPU time) in each worker.
        "PF_BATCH_METHOD": "fork" if sys.platform == "linux" else "spawn",
        # A packaged flow is identified by its content, so running it must not write files.
        "PYTHONDONTWRITEBYTECODE": "1",
        "VIRTUAL_ENV": str(packages),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(packages / virtual_environment.CODE)]),
        # `pf` starts other programs by name.
        "PATH": os.pathsep.join([str(packages / "bin"), os.environ.get("PATH", "")]),
    }


def _write_once(file: Path, text: str) -> None:
    """Write `file` unless it exists: Prompt flow adds an installation id to it, which must be preserved."""
    if not file.exists():
        atomic_write(file, text, mode=0o600)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(
            'usage: eval "$(python -m phi_assets.prompt_flow.environment HOME)"; HOME is the folder with prompt_flow'
        )
    variables = prompt_flow_variables(Path(sys.argv[1]), lambda line: print(line, file=sys.stderr))
    print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()))
