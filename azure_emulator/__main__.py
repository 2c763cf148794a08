"""`python -m azure_emulator up|down|env|status [--state DIR]`: start, stop, connect to or query the local Azure."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from azure_emulator.control import Control
from azure_emulator.process import PROJECT, CannotStart, down, environment, running, up


def _default_state() -> Path:
    home = Path(os.environ.get("PHI_HOME") or ".phi").expanduser()
    return (PROJECT / home).resolve() / "azure-local"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m azure_emulator", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "env", "status"))
    parser.add_argument("--state", type=Path, default=_default_state(), help="folder for all state")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies all waits; 0 is instant")
    options = parser.parse_args()
    state = options.state.resolve()
    if options.command == "up":
        try:
            up(state, options.scale)
        except CannotStart as e:
            print(e, file=sys.stderr)
            return 1
        print(f'the local Azure is up on {state}: eval "$(python -m azure_emulator env --state {state})"')
        return 0
    if options.command == "down":
        print("stopped" if down(state) else "it was not running")
        return 0
    if not running(state):
        print(f"no local Azure runs on {state}: python -m azure_emulator up", file=sys.stderr)
        return 1
    if options.command == "env":
        for name, value in environment(state).items():
            print(f"export {name}={shlex.quote(value)}")
        return 0
    control = Control(state)
    print(f"up on {state}; {len(control.resources())} resources, {len(control.requests())} requests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
