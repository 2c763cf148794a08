"""Packages the chat flow as a self-contained folder, identified by its content and published atomically."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from phi_assets.project import PROJECT
from phi_assets.prompt_flow.virtual_environment import LOCK

FLOW_FILE = "flow.dag.yaml"
# Files that running a flow writes into its folder.
RUN_FILES = shutil.ignore_patterns("__pycache__", "*.pyc", ".promptflow", ".runs")
# One turn of the chat, with what it imports; Prompt flow's environment has httpx.
TURN = tuple(
    f"chat_code/{name}.py"
    for name in ("__init__", "content_filter", "conversations", "endpoint", "endpoint_errors", "tracing", "turn")
)
CONNECTION_LINE = re.compile(r"^(\s+connection: )\S+$", re.MULTILINE)


def package_flow(
    source: Path,
    root: Path,
    *,
    connection: str | None = None,
    beside: Sequence[Path] = (),
    accept: Callable[[Path], None] | None = None,
) -> tuple[Path, str]:
    """Publish the flow in `source` as `<root>/<digest>/` and return that folder and the digest.

    The folder holds the flow, the modules of `chat_code` that it calls, the lock of the environment that it was tested
    in as `requirements.txt`, and the Dockerfile and README that the source brings. The same content has the same
    digest, and is not written again.

    Args:
        source: folder of the flow; it is read only.
        root: where packages are published.
        connection: name of the connection that replaces the flow's own.
        beside: files that are added to the package.
        accept: called with the finished folder before it is published; when it raises, nothing is published.

    Raises:
        FileNotFoundError: `source` is not a flow.
    """
    if not (source / FLOW_FILE).is_file():
        raise FileNotFoundError(f"{source} is not a flow: it has no {FLOW_FILE}")
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=root) as temporary:
        draft = Path(temporary) / "flow"
        shutil.copytree(source, draft, ignore=RUN_FILES)
        for file in beside:
            shutil.copy(file, draft)
        _complete(draft, connection)
        digest = folder_digest(draft)
        if accept:
            accept(draft)
        if folder_digest(draft) != digest:
            raise RuntimeError(f"accepting the flow changed its files in {draft}; try it on a copy")
        target = root / digest
        if not is_intact(target):
            shutil.rmtree(target, ignore_errors=True)
            os.replace(draft, target)
    return target, digest


def is_intact(folder: Path) -> bool:
    """Return whether a published folder exists and its content matches the digest in its name."""
    return folder.is_dir() and folder_digest(folder) == folder.name


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 over the paths and bytes of a flow's files in hexadecimal, without files written by runs."""
    digest = hashlib.sha256()
    for path in sorted(_files(folder)):
        name = path.relative_to(folder).as_posix().encode()
        content = path.read_bytes()
        digest.update(b"%d %s %d " % (len(name), name, len(content)))
        digest.update(content)
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(folder):
        ignored = RUN_FILES(path, folders + files)
        folders[:] = [name for name in folders if name not in ignored]
        yield from (Path(path) / name for name in files if name not in ignored)


def _complete(draft: Path, connection: str | None) -> None:
    """Write the parts that depend on this environment: locked requirements, Python version and connection."""
    shutil.copy(LOCK, draft / "requirements.txt")
    for path in TURN:
        target = draft / path
        target.parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / path, target)
    dockerfile = draft / "Dockerfile"
    if dockerfile.exists():
        version = f"ARG PYTHON_VERSION={sys.version_info.major}.{sys.version_info.minor}"
        dockerfile.write_text(re.sub(r"(?m)^ARG PYTHON_VERSION=.*$", version, dockerfile.read_text(encoding="utf-8")))
    if connection:
        flow = draft / FLOW_FILE
        flow.write_text(CONNECTION_LINE.sub(rf"\g<1>{connection}", flow.read_text(encoding="utf-8")), encoding="utf-8")
