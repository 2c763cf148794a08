"""The record of a home's running Dagster, from which every command finds it. Imports no Dagster."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phi_assets import own_processes
from phi_assets.files import DamagedFile, atomic_write, read_json
from phi_assets.own_processes import Process
from phi_assets.settings import Settings

if TYPE_CHECKING:
    import psutil

TOKEN = "processes.token"
REMEDY = "`phi down` ends the Dagster that it recorded, if it runs, and the next `phi run` starts another"


@dataclass(frozen=True)
class Interface:
    """A running Dagster: the supervisor's process, and those of code server, webserver and daemon by name."""

    supervisor: Process
    port: int
    loaded: str
    foreground: bool
    machine: str
    servers: Mapping[str, Process]
    folder: str = ""
    """Of the code server's socket: deleted when the Dagster ends."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self.machine == own_processes.machine() and self.supervisor.alive


def write(settings: Settings, interface: Interface) -> None:
    """Record a started Dagster."""
    atomic_write(file(settings), json.dumps(dataclasses.asdict(interface)), mode=0o600)


def read(settings: Settings) -> Interface | None:
    """Return the recorded Dagster, running or not; None where nothing is recorded. Raises DamagedFile."""
    try:
        found = read_json(file(settings), REMEDY)
        servers = {name: Process(**process) for name, process in found.pop("servers").items()}
        return Interface(supervisor=Process(**found.pop("supervisor")), servers=servers, **found)
    except FileNotFoundError:
        return None
    except (TypeError, KeyError, AttributeError) as e:
        raise DamagedFile(file(settings), "it is no record of a running Dagster", REMEDY) from e


def find(settings: Settings) -> Interface | None:
    """Return the home's running Dagster; None where none runs on this machine, or the record is damaged."""
    with suppress(DamagedFile):
        found = read(settings)
        return found if found and found.alive else None
    return None


def file(settings: Settings) -> Path:
    return settings.state / "interface.json"


def token_of(settings: Settings) -> str:
    """Return the token of this home's processes, made when there is none."""
    return own_processes.token(settings.state / TOKEN)


def tokens_of(settings: Settings) -> set[str]:
    """Return the token in the home's file, and those of the recorded processes: either may be lost."""
    found = {own_processes.read_token(settings.state / TOKEN)}
    with suppress(DamagedFile):
        recorded = read(settings)
        if recorded and recorded.machine == own_processes.machine():
            found |= {own_processes.token_in(each) for each in (recorded.supervisor, *recorded.servers.values())}
    return found


def processes_of(tokens: Iterable[str]) -> "Iterator[psutil.Process]":
    """Yield the processes that have one of these tokens, except this one."""
    for token in tokens:
        yield from own_processes.with_token(token)
