"""Reads datasets of the Hugging Face hub through `datasets`; every failure is raised as SourceError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from phi_assets.conversations.formats.arrow_files import finite
from phi_assets.conversations.rows import Row, SourceError
from phi_assets.conversations.sources.address import HubSource


@contextmanager
def _explained(source: HubSource) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except (RepositoryNotFoundError, RevisionNotFoundError) as e:
        raise SourceError(
            f"the hub has no {source}; check the name and the revision, and set HF_TOKEN if it is private"
        ) from e
    except (OSError, HfHubHTTPError) as e:
        raise SourceError(_unreachable(source, e)) from e
    except ValueError as e:
        raise SourceError(f"{source} can't be loaded: {e}; check the split expression") from e
    except Exception as e:
        # The hub client's HTTP library differs between its versions, and its errors have no common base class.
        if not type(e).__module__.startswith(("httpx", "httpcore", "requests", "urllib3")):
            raise
        raise SourceError(_unreachable(source, e)) from e


def _unreachable(source: HubSource, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"can't reach the Hugging Face hub for {source} ({reason}); go online, or set PHI_DATASET to a local file"


def commit_of(source: HubSource) -> str:
    """The commit SHA that the source's revision (or the default branch) points to now. Raises SourceError."""
    with _explained(source):
        from huggingface_hub import HfApi

        info = HfApi().dataset_info(source.name, revision=source.revision, timeout=30)
    if not info.sha:
        raise SourceError(f"the hub names no commit for {source}; give a revision: hf:<dataset>@<commit>:<split>")
    return info.sha


def read_hub(source: HubSource) -> Iterator[Row]:
    """The rows of a hub dataset, with their position in the split as line. Raises SourceError."""
    with _explained(source):
        from datasets import load_dataset

        dataset = load_dataset(source.name, split=source.split, revision=source.revision)
    for number, value in enumerate(dataset, start=1):
        yield Row(str(source), number, finite(dict(value)))
