"""A Hugging Face hub on loopback: the routes that fetching a model asks, serving folders as repositories."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class LoopbackHub:
    """What the hub serves, and which files it was asked for."""

    repositories: dict[str, dict[str, Path]]
    """Per repository, its folders by commit; the last commit is ``main``."""
    gated: bool = False
    """Whether files are refused until a licence is accepted; what a repository holds is told anyway."""
    address: str = ""
    fetched: list[str] = field(default_factory=list)


@contextlib.contextmanager
def run_hub(hub: LoopbackHub) -> Iterator[LoopbackHub]:
    """``hub`` answers at ``hub.address`` inside the block."""
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
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[:2] in (["api", "models"], ["api", "datasets"]) and len(parts) >= 4:
                revision = parts[5] if len(parts) > 5 else "main"
                self._information("/".join(parts[2:4]), revision, as_tree=parts[4:5] == ["tree"])
            elif len(parts) >= 5 and parts[2] == "resolve":
                self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), with_body)
            else:
                self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

        def _information(self, repository: str, revision: str, *, as_tree: bool) -> None:
            commits = hub.repositories.get(repository)
            if commits is None:
                return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            commit = list(commits)[-1] if revision == "main" else revision
            if commit not in commits:
                return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            paths = [path for path in commits[commit].rglob("*") if path.is_file()]
            sizes = {path.relative_to(commits[commit]).as_posix(): path.stat().st_size for path in paths}
            tree = [{"type": "file", "path": name, "size": size, "oid": "0" * 40} for name, size in sizes.items()]
            about = {"id": repository, "sha": commit, "siblings": [{"rfilename": name} for name in sizes]}
            body = json.dumps(tree if as_tree else about).encode()
            return self._send(200, body, {"Content-Type": "application/json"})

        def _file(self, repository: str, commit: str, name: str, with_body: bool) -> None:
            if hub.gated:
                return self._send(403, b"", {"X-Error-Code": "GatedRepo"}, with_body=with_body)
            content = (hub.repositories[repository][commit] / name).read_bytes()
            if with_body:
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
