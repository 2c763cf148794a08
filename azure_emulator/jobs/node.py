"""One attempt of a job on one node: its folder, data and process."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from azure_emulator.blob_storage.blob_operations import WRITE
from azure_emulator.blob_storage.blob_path import BlobPath
from azure_emulator.blob_storage.blob_store import BlobStore
from azure_emulator.jobs.contract import JobRun
from azure_emulator.jobs.data import DataAccess, JobFailed, fetch, substituted
from azure_emulator.jobs.identity_endpoint import IdentityEndpoint
from azure_emulator.jobs.log import JobLog
from azure_emulator.jobs.mount import Mount
from azure_emulator.python_launcher import write_python_launchers
from azure_emulator.supervised_process import SupervisedProcess

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Node:
    """A node for one attempt: call `prepare`, `start`, then `finish` or `lose`, which delete its folder.

    The folder's name is new each time, as on Azure, so a path in a checkpoint is invalid on the next node.
    """

    def __init__(
        self,
        run: JobRun,
        folder: Path,
        python: Path,
        store: BlobStore,
        access: DataAccess,
        endpoint: IdentityEndpoint,
        client_environment: Mapping[str, str],
    ) -> None:
        self._run, self._store, self._access, self._endpoint = run, store, access, endpoint
        self._python, self._client_environment = python, client_environment
        self.folder = folder / uuid.uuid4().hex
        self._mounts: dict[str, Mount] = {}
        self._secret = secrets.token_hex(16)
        self._inputs: dict[str, str] = {}
        self._outputs: dict[str, str] = {}
        self.process: SupervisedProcess | None = None
        self.log: JobLog | None = None

    def prepare(self, stopped: Callable[[], bool]) -> None:
        """Download code and inputs and open outputs. Raises JobFailed if the identity may not use them."""
        for name in ("code", "home", "tmp", "bin"):
            (self.folder / name).mkdir(parents=True)
        self._access.require_all()
        if self._run.code:
            fetch(self._store, self._run.code, self.folder / "code", stopped)
        for name, item in self._run.inputs.items():
            if isinstance(item.value, BlobPath):
                place = self.folder / "inputs" / name
                found = fetch(self._store, item.value, place, stopped, one_file=item.kind == "uri_file")
                self._inputs[name] = str(found)
            else:
                self._inputs[name] = item.value
        for name, output in self._run.outputs.items():
            place = self.folder / "outputs" / name
            self._outputs[name] = str(place)
            mount = Mount(self._store, output.target, place, self._may_write)
            self._mounts[name] = mount
            if output.mode == "ReadWriteMount":
                mount.open(stopped)
            else:
                mount.collect_later()

    def start(self) -> SupervisedProcess:
        """Start the command with only the environment variables that Azure gives."""
        command = substituted(self._run.command, self._inputs, self._outputs)
        process = SupervisedProcess(
            ["/bin/bash", "-c", command], subprocess.PIPE, self._environment(), self.folder / "code"
        )
        self.process = process
        assert process.process.stdout
        self.log = JobLog(self._store, self._run.log, process.process.stdout)
        return process

    def stop(self, grace_seconds: float) -> None:
        """Send SIGTERM to the command and wait up to `grace_seconds`."""
        if self.process:
            self.process.terminate()
            self.process.wait(grace_seconds)

    def finish(self, seconds: float | None = None) -> None:
        """End the processes and complete log and outputs (outputs for at most `seconds`)."""
        self._end_process()
        if self.log:
            self.log.close()
        for mount in self._mounts.values():
            mount.close(seconds)
        self._clear()

    def lose(self) -> None:
        """Delete the node at once, with everything that is not yet in Blob storage."""
        for mount in self._mounts.values():
            mount.lose()
        self._end_process()
        if self.log:
            self.log.close()
        self._clear()

    def require_outputs(self) -> None:
        """Raise JobFailed if an output could not be written completely."""
        for name, mount in self._mounts.items():
            if mount.refused:
                raise self._access.write_refused(self._run.outputs[name].target)
            if mount.broken:
                raise JobFailed("ScriptExecution.WriteStreams.Unexpected", f"output {name}: {mount.broken}")

    def _may_write(self) -> bool:
        return all(self._access.allowed(WRITE, output.target) for output in self._run.outputs.values())

    def _environment(self) -> dict[str, str]:
        run = self._run
        given = {
            **run.environment_variables,
            **self._client_environment,
            "PATH": f"{write_python_launchers(self.folder / 'bin', self._python)}:{SYSTEM_PATH}",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "AZUREML_RUN_ID": run.name,
        }
        if run.identity_oid and run.identity_client_id:
            self._secret = self._endpoint.open(run.identity_oid, run.identity_client_id)
            given["MSI_ENDPOINT"], given["MSI_SECRET"] = self._endpoint.address, self._secret
            given["DEFAULT_IDENTITY_CLIENT_ID"] = run.identity_client_id
        return given

    def _end_process(self) -> None:
        self._endpoint.shut(self._secret)
        if self.process:
            self.process.kill()

    def _clear(self) -> None:
        if self.process:
            self.process.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()  # the job's folder, which is empty between two nodes
