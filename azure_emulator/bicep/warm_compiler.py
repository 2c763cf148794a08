"""The Bicep compiler as a running server: starting takes 1 s, evaluating a template 0.1 s."""

import atexit
import contextlib
import json
import os
import select
import subprocess
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

SECONDS = 120
ENVIRONMENT = {"DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}  # without it, .NET needs ICU, which small systems lack


class NoAnswer(Exception):
    """The server lacks the method, ended, or refused without a reason; the command line may work."""


class Refused(Exception):
    """The compiler's errors, one per line, as its command line prints them."""


def snapshot(compiler: Path, parameters: Path, **metadata: str | None) -> dict[str, Any]:
    """Return the result of `bicep snapshot` for a parameter file. Raises Refused or NoAnswer."""
    running, path = _running(compiler), str(parameters)
    try:
        return json.loads(running.call("bicep/getSnapshot", path=path, metadata=metadata)["snapshot"])
    except NoAnswer:
        compiled = running.call("bicep/compileParams", path=path, parameterOverrides={})
        if errors := [_line(found) for found in compiled["diagnostics"] if found["level"] == "Error"]:
            raise Refused("\n".join(errors)) from None
        raise


def _line(found: dict[str, Any]) -> str:
    at, code = found["range"]["start"], found["code"]
    link = f"[https://aka.ms/bicep/core-diagnostics#{code}]"
    return f"{found['source']}({at['line'] + 1},{at['char'] + 1}) : Error {code}: {found['message']} {link}"


@cache
def _running(compiler: Path) -> "_Compiler":
    return _Compiler(compiler)


class _Compiler:
    """`bicep jsonrpc`, started on first use. It ends when its input closes, at the latest with this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._request_id = 0
        self._unusable = False

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method and return its result. Raises NoAnswer."""
        with self._lock:
            if self._unusable:
                raise NoAnswer
            try:
                answer = self._answer(method, parameters)
            except (OSError, ValueError, EOFError) as e:
                # After a failed start or a broken connection, it is not tried again.
                self._unusable = True
                self._close()
                raise NoAnswer from e
        if "result" not in answer:
            raise NoAnswer
        return answer["result"]

    def _answer(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        process = self._process = self._process or self._start()
        assert process.stdin
        self._request_id += 1
        body = {"jsonrpc": "2.0", "id": self._request_id, "method": method, "params": parameters}
        text = json.dumps(body).encode()
        process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(text), text))
        deadline = time.monotonic() + SECONDS
        while True:
            heading = self._until(b"\r\n\r\n", deadline)
            lines = dict(line.lower().split(b":", 1) for line in heading.split(b"\r\n") if line)
            answer = json.loads(self._read(int(lines[b"content-length"]), deadline))
            if answer.get("id") == self._request_id:
                return answer

    def _until(self, end: bytes, deadline: float) -> bytes:
        found = b""
        while not found.endswith(end):
            found += self._read(1, deadline)
        return found

    def _read(self, count: int, deadline: float) -> bytes:
        assert self._process
        assert self._process.stdout
        found = b""
        while len(found) < count:
            if not select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"no answer within {SECONDS} s")
            more = self._process.stdout.read(count - len(found))
            if not more:
                raise EOFError
            found += more
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        atexit.register(self._close)
        return subprocess.Popen(
            [self._path, "jsonrpc", "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ENVIRONMENT},
            bufsize=0,
        )

    def _close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin
        assert process.stdout
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
