"""A container image without Docker: the files, variables and command of its Dockerfile."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))")


class BuildFailed(ValueError):
    """The image cannot be built; the message names the instruction."""


@dataclass
class Image:
    """The image's files, environment variables and command."""

    root: Path
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"

    @property
    def folder(self) -> Path:
        return self.place(self.workdir)

    def place(self, path: str) -> Path:
        """Return the path on this machine of an absolute path in the image."""
        return self.root / path.lstrip("/")

    def local(self, value: str) -> str:
        """Return the value with absolute paths of the image (`/app` in `PYTHONPATH=/app`) as paths on this machine."""
        parts = (str(self.place(p)) if _is_path(p) and self.place(p).exists() else p for p in value.split(":"))
        return ":".join(parts)


def build(context: Path, dockerfile: str, root: Path) -> Image:
    """Build the last stage of the Dockerfile under `root`. RUN is skipped: the interpreter that starts the
    container has the packages. Raises BuildFailed.
    """
    path = context / dockerfile
    if not path.is_file():
        raise BuildFailed(f"failed to read dockerfile: {dockerfile}: no such file in the build context")
    image, entry, command = Image(root), None, None
    arguments: dict[str, str] = {}
    for word, rest in _instructions(path.read_text()):
        if word == "FROM":
            image, entry, command = Image(root), None, None
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(parents=True)
        elif word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name.strip()] = value.strip().strip("\"'")
        elif word == "ENV":
            image.environment.update(_pairs(_expanded(rest, {**arguments, **image.environment})))
        elif word == "WORKDIR":
            image.workdir = str(PurePosixPath(image.workdir) / _expanded(rest, {**arguments, **image.environment}))
            image.folder.mkdir(parents=True, exist_ok=True)
        elif word in ("COPY", "ADD"):
            _copy(context, image, _expanded(rest, {**arguments, **image.environment}))
        elif word == "ENTRYPOINT":
            entry, command = _exec_form(rest), None
        elif word == "CMD":
            command = _exec_form(rest)
    image.command = [*(entry or []), *(command or [])]
    if not image.command:
        raise BuildFailed("the Dockerfile has neither CMD nor ENTRYPOINT, so nothing would start")
    return image


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\[ \t]*\n", " ", "\n".join(lines))
    found = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [(word.upper(), rest.strip()) for word, _, rest in found]


def _expanded(text: str, values: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda m: values.get(m[1] or m[3]) or m[2] or "", text)


def _pairs(rest: str) -> dict[str, str]:
    words = shlex.split(rest)
    if words and "=" not in words[0]:  # the old form, `ENV name value`
        return {words[0]: " ".join(words[1:])}
    return dict(word.split("=", 1) for word in words)


def _exec_form(rest: str) -> list[str]:
    if not rest.startswith("["):
        return ["/bin/sh", "-c", rest]
    try:
        words = json.loads(rest)
    except ValueError as e:
        raise BuildFailed(f"unknown instruction form: {rest}: {e}") from e
    return [str(word) for word in words]


def _copy(context: Path, image: Image, rest: str) -> None:
    words = json.loads(rest) if rest.startswith("[") else shlex.split(rest)
    if any(word.startswith("--from=") for word in words):
        return  # from another stage, which is not built
    *sources, target = [word for word in words if not word.startswith("--")]
    into = image.place(str(PurePosixPath(image.workdir) / target))
    for source in sources:
        found = [context / "."] if source in (".", "./") else sorted(context.glob(source.strip("/")))
        if not found:
            raise BuildFailed(f'failed to calculate checksum of "/{source.strip("/")}": not found')
        for one in found:
            if one.is_dir():
                shutil.copytree(one, into, dirs_exist_ok=True)
            else:
                place = into / one.name if target.endswith("/") or target == "." or into.is_dir() else into
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(one, place)


def _is_path(text: str) -> bool:
    return text.startswith("/") and len(text) > 1
