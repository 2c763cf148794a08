"""One container: an image's command as a process with its own folder."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from azure_emulator.jobs.node import SYSTEM_PATH
from azure_emulator.python_launcher import write_python_launchers
from azure_emulator.scoring.image import Image
from azure_emulator.supervised_process import SupervisedProcess

_MOUNT = "azureml-models"
_PROJECT = Path(__file__).resolve().parents[2]
# The container has this interpreter's packages, but only those files of this project that the image copied.
_WITHOUT_PROJECT = f"""import sys
sys.path[:] = [place for place in sys.path if place != {str(_PROJECT)!r}]
"""
_SECONDS_TO_STOP = 30.0  # as long as Kubernetes waits


@dataclass(frozen=True)
class Route:
    """A path and a port inside the container."""

    path: str
    port: int


class Container:
    """Runs a command and restarts it when it ends, as Kubernetes does, unless `restarts` is off.

    One process represents all instances of a deployment, because they would share this machine's cores.
    """

    def __init__(self, folder: Path, python: Path, restart_seconds: float) -> None:
        self.folder = folder / uuid.uuid4().hex
        self.folder.mkdir(parents=True)
        self._python, self._restart_seconds = python, restart_seconds
        self._ports: dict[int, int] = {}
        self._command: list[str] = []
        self._environment: dict[str, str] = {}
        self._workdir = self.folder
        self._stopping = threading.Event()
        self.restarts = True
        self.serves = 0  # the port inside that a container app's ingress reaches
        self.ready = False
        self.process: SupervisedProcess | None = None

    @property
    def log(self) -> Path:
        return self.folder / "container.log"

    @property
    def models(self) -> Path:
        """The folder where models are mounted."""
        return self.folder / _MOUNT

    def port(self, inside: int) -> int:
        """Return the port on this machine for a port of the container."""
        if inside not in self._ports:
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                self._ports[inside] = taken.getsockname()[1]
        return self._ports[inside]

    def start(self, image: Image, ports: set[int], given: Mapping[str, str]) -> None:
        """Start the image's command with only the variables of the image and of Azure."""
        for inside in ports:
            self.port(inside)
        for name in ("home", "tmp", "bin"):
            (self.folder / name).mkdir(exist_ok=True)
        self._workdir = image.folder
        image.folder.mkdir(parents=True, exist_ok=True)
        self._command = [self._here(image.local(word)) for word in image.command]
        self._environment = {
            **{name: self._here(image.local(value)) for name, value in image.environment.items()},
            **{name: self._here(value) for name, value in given.items()},
            "PATH": f"{write_python_launchers(self.folder / 'bin', self._python)}:{SYSTEM_PATH}",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
        }
        self._hide_project()
        self._run()
        threading.Thread(target=self._supervise, name="container", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """The process id of the command; None while it does not run."""
        return self.process.command_id if self.process and self.process.code is None else None

    @property
    def exit_code(self) -> int | None:
        return self.process.code if self.process else None

    def tail(self, lines: int) -> str:
        """Return the last lines of the command's output."""
        try:
            output = self.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(output[-lines:])

    def crash(self) -> None:
        """Kill the command without a restart, as in a crash loop."""
        self.restarts = False
        if self.process:
            self.process.kill()

    def stop(self) -> None:
        """Send SIGTERM, then SIGKILL. The log remains until `clear`."""
        self._stopping.set()
        if self.process:
            self.process.terminate()
            self.process.wait(_SECONDS_TO_STOP)
            self.process.close()

    def kill(self) -> None:
        """Kill the command at once."""
        self._stopping.set()
        if self.process:
            self.process.close()

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self) -> None:
        with self.log.open("ab") as log:
            self.process = SupervisedProcess(self._command, log, self._environment, self._workdir)

    def _supervise(self) -> None:
        while True:
            assert self.process
            self.process.wait()
            # Before it is ready for the first time, the provisioner handles its end.
            if not self.ready or not self.restarts or self._stopping.wait(self._restart_seconds):
                return
            self._run()
            if self._stopping.is_set():
                self.process.close()
                return

    def _here(self, value: str) -> str:
        """Return a port or listening address of the container as it is on this machine."""
        if value == "0.0.0.0":
            return "127.0.0.1"
        with contextlib.suppress(ValueError):
            return str(self._ports[int(value)]) if int(value) in self._ports else value
        return value

    def _hide_project(self) -> None:
        site = self.folder / "site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(_WITHOUT_PROJECT)
        own = self._environment.get("PYTHONPATH")
        self._environment["PYTHONPATH"] = f"{site}:{own}" if own else str(site)
