"""A Hugging Face hub on loopback: serves folders by the routes that downloads of models and datasets use."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class LoopbackHub:
    """The repositories that the hub serves, and the files that were fetched."""

    repositories: dict[str, dict[str, Path]]
    """The folders of each repository by commit; the last commit is ``main``."""
    gated: bool = False
    """Whether files are refused as before a licence is accepted; the list of files is not refused."""
    open: threading.Event = field(default_factory=threading.Event)
    """Requests for files wait until it is set."""
    address: str = ""
    fetched: list[str] = field(default_factory=list)


@contextlib.contextmanager
def run_hub(hub: LoopbackHub) -> Iterator[LoopbackHub]:
    """Serve ``hub`` at ``hub.address`` during the block."""
    hub.open.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(hub: LoopbackHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

        def _answer(self, *, with_body: bool) -> None:
            parts = self.path.split("?")[0].strip("/").removeprefix("datasets/").split("/")
            if parts[:2] in (["api", "models"], ["api", "datasets"]) and len(parts) >= 4:
                revision = parts[5] if len(parts) > 5 else "main"
                if parts[4:5] == ["tree"]:
                    self._tree("/".join(parts[2:4]), revision, "/".join(parts[6:]))
                else:
                    self._information("/".join(parts[2:4]), revision)
            elif len(parts) >= 5 and parts[2] == "resolve":
                self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), with_body)
            else:
                self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

        def _commit(self, repository: str, revision: str) -> str | None:
            """Return the commit of the revision; None after answering 404."""
            commits = hub.repositories.get(repository)
            if commits is None:
                return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            commit = list(commits)[-1] if revision == "main" else revision
            return commit if commit in commits else self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})

        def _information(self, repository: str, revision: str) -> None:
            if commit := self._commit(repository, revision):
                root = hub.repositories[repository][commit]
                names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
                self._json({"id": repository, "sha": commit, "siblings": [{"rfilename": name} for name in names]})

        def _tree(self, repository: str, revision: str, within: str) -> None:
            if commit := self._commit(repository, revision):
                root = hub.repositories[repository][commit]
                if not (root / within).is_dir():
                    return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
                found = (root / within).glob("**/*" if "recursive=true" in self.path.lower() else "*")
                self._json([_entry(path, path.relative_to(root).as_posix()) for path in found])

        def _json(self, value: Any) -> None:
            self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def _file(self, repository: str, commit: str, name: str, with_body: bool) -> None:
            if hub.gated:
                return self._send(403, b"", {"X-Error-Code": "GatedRepo"}, with_body=with_body)
            if not (hub.repositories[repository][commit] / name).is_file():
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body=with_body)
            content = (hub.repositories[repository][commit] / name).read_bytes()
            if with_body:
                hub.open.wait()
                hub.fetched.append(name)
            tag = hashlib.sha256(content).hexdigest()
            return self._send(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": commit}, with_body=with_body)

        def _send(self, status: int, body: bytes, headers: dict[str, str], *, with_body: bool = True) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    return Handler


def _entry(path: Path, name: str) -> dict[str, Any]:
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": "0" * 40}
    return {"type": "file", "path": name, "size": path.stat().st_size, "oid": "0" * 40}
