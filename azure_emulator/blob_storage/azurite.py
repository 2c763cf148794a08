"""Azurite, the blob storage behind the gate: a child process for the gate and the platform only."""

from __future__ import annotations

import atexit
import base64
import hashlib
import hmac
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from functools import cache
from itertools import count
from pathlib import Path
from urllib.parse import quote, urlencode

from azure_emulator.supervised_process import SupervisedProcess

PROGRAM = Path(__file__).parents[1] / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
SLOTS = 1000  # maximum storage accounts of one Azurite, which reads their names at its start
SECONDS_TO_START = 60


class AzuriteMissing(RuntimeError):
    """Node or the npm package is missing; the message says how to install it."""


class Azurite:
    """A running Azurite on a free loopback port, with persistent blobs under `folder`.

    Each storage account gets a slot, which is one of the account names that Azurite started with.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._accounts_file = folder / "accounts.json"
        self._key = _kept_key(folder / "key")
        self._lock = threading.Lock()
        self._signatures: dict[str, str] = {}
        self._accounts: dict[str, str] = (
            json.loads(self._accounts_file.read_text()) if self._accounts_file.exists() else {}
        )
        self._child = SupervisedProcess(_command(folder / "blobs"), subprocess.PIPE, self._environment())
        self.port = self._wait_until_ready()

    def url(self, account: str) -> str:
        """Return Azurite's address of the account: `http://127.0.0.1:port/slot`."""
        return f"http://127.0.0.1:{self.port}/{self.slot(account)}"

    def slot(self, account: str) -> str:
        with self._lock:
            if account not in self._accounts:
                if len(self._accounts) == SLOTS:
                    raise ValueError(f"this Azurite holds {SLOTS} storage accounts already: start from an empty folder")
                self._accounts[account] = _slot(len(self._accounts))
                self._accounts_file.write_text(json.dumps(self._accounts))
            return self._accounts[account]

    def access(self, account: str) -> str:
        """Return a signature for everything in the account. It is internal and never given to a client."""
        slot = self.slot(account)
        if slot not in self._signatures:
            fields = {"sp": "rwdxylacuptfi", "ss": "b", "srt": "sco", "st": "", "se": "2099-01-01T00:00:00Z"}
            fields |= {"sip": "", "spr": "", "sv": "2024-11-04", "ses": ""}
            to_sign = "\n".join((slot, *fields.values())) + "\n"
            signed = hmac.new(base64.b64decode(self._key), to_sign.encode(), hashlib.sha256).digest()
            kept = {name: value for name, value in fields.items() if value}
            self._signatures[slot] = urlencode(kept | {"sig": base64.b64encode(signed).decode()}, quote_via=quote)
        return self._signatures[slot]

    def close(self) -> None:
        """End Azurite after it has written its tables."""
        self._child.terminate()
        self._child.wait(10)
        self._child.close()

    def _environment(self) -> dict[str, str]:
        names = ";".join(f"{_slot(number)}:{self._key}" for number in range(SLOTS))
        # Without the shell's proxy variables: it serves loopback only.
        return {"PATH": os.environ["PATH"], "HOME": str(Path.home()), "AZURITE_ACCOUNTS": names}

    def _wait_until_ready(self) -> int:
        output: list[str] = []
        ready = threading.Event()
        lines = self._child.process.stdout
        assert lines

        def listen() -> None:
            for line in lines:
                text = line.decode(errors="replace").strip()
                output.append(text)
                if "successfully listens on" in text:
                    ready.set()
            ready.set()

        threading.Thread(target=listen, name="azurite", daemon=True).start()
        deadline = time.monotonic() + SECONDS_TO_START
        ready.wait(deadline - time.monotonic())
        address = next((line for line in output if "successfully listens on" in line), None)
        if not address:
            self._child.kill()
            raise RuntimeError(
                f"Azurite did not start in {SECONDS_TO_START} s; its output: {' / '.join(output) or 'none'}"
            )
        return int(address.rpartition(":")[2])


class SharedAzurite:
    """The accounts of one emulator in the Azurite that all emulators of this process share, started on first use.

    No slot is used twice, so emulators never see each other's blobs, not even of late writes.
    """

    _numbers = count()

    def __init__(self) -> None:
        self._number = next(self._numbers)

    @property
    def port(self) -> int:
        return _of_this_process().port

    def url(self, account: str) -> str:
        return _of_this_process().url(self._own(account))

    def slot(self, account: str) -> str:
        return _of_this_process().slot(self._own(account))

    def access(self, account: str) -> str:
        return _of_this_process().access(self._own(account))

    def close(self) -> None:
        """Do nothing: other emulators still use Azurite."""

    def _own(self, account: str) -> str:
        return f"{self._number} {account}"


_STARTING = threading.Lock()


def _of_this_process() -> Azurite:
    with _STARTING:
        return _started()


@cache
def _started() -> Azurite:
    folder = Path(tempfile.mkdtemp(prefix="azurite-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    azurite = Azurite(folder)
    atexit.register(azurite.close)
    return azurite


def _command(data: Path) -> list[str]:
    node = shutil.which("node")
    if not node:
        raise AzuriteMissing("the local Azure needs Node.js on PATH, for Azurite: install version 22 (20 works too)")
    if not PROGRAM.exists():
        raise AzuriteMissing("the local Azure needs Azurite: run `npm ci --prefix azure_emulator`")
    options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--location", str(data)]
    # --skipApiVersionCheck: the SDK uses newer API versions than Azurite supports.
    plain = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--disableProductStyleUrl"]
    return [node, str(PROGRAM), *options, *plain]


def _slot(number: int) -> str:
    return f"slot{number:03}"


def _kept_key(path: Path) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(base64.b64encode(secrets.token_bytes(64)).decode())
    return path.read_text()
