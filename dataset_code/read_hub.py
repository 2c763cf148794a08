"""Read a split of a Hugging Face dataset at one commit, and write its rows to a folder that another machine reads.

    python dataset_code/read_hub.py --dataset NAME --commit SHA --split SPLIT --output_dir DIR

Writes rows.jsonl with one row per line, in the split's order; then rows.json with the number of rows, the size of the
file in bytes and its SHA-256.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROWS, MARKER = "rows.jsonl", "rows.json"
FAILED = 2  # equals the exit code of argparse
_STEP = 10_000
HERE = "set PHI_AZURE_READ_DATASETS=here"


class ReadingFailed(Exception):
    """The dataset can't be read; the message is one sentence that names the remedy."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read and write the rows; return the exit code: 0, or 2 when the dataset can't be read; the last line says why."""
    parser = argparse.ArgumentParser(description="rows of a Hugging Face dataset as JSON Lines", allow_abbrev=False)
    parser.add_argument("--dataset", required=True, help="its name on the hub: owner/name")
    parser.add_argument("--commit", required=True, help="the commit to read")
    parser.add_argument("--split", required=True, help="such as train, or train[:1%%]")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder for the two files, created if missing")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="reading-") as cache:
        os.environ["HF_HOME"] = cache  # the downloaded files are not needed afterwards
        try:
            summary = write(rows(options.dataset, options.commit, options.split), options.output_dir)
        except ReadingFailed as e:
            print(f"error: {e}", flush=True)
            return FAILED
    print(f"read {summary['rows']:,} rows of {options.dataset}, {options.split}", flush=True)
    return 0


def rows(name: str, commit: str, split: str) -> Iterator[Any]:
    """The rows of the split, in its order. Raises ReadingFailed."""
    with explained(f"hf:{name}@{commit}:{split}"):
        import datasets

        datasets.disable_progress_bars()
        dataset = datasets.load_dataset(name, split=split, revision=commit)
    yield from dataset


@contextmanager
def explained(source: str) -> Iterator[None]:
    """Convert every error of reading the dataset to ReadingFailed."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError) as e:
        raise ReadingFailed(_not_visible(source)) from e
    except Exception as e:
        module = type(e).__module__
        if type(e).__name__ == "DatasetNotFoundError":  # raised by datasets for a private or missing dataset
            raise ReadingFailed(_not_visible(source)) from e
        if module.startswith("datasets.") or isinstance(e, ValueError):
            raise ReadingFailed(_not_loaded(source, e)) from e
        # The hub client's HTTP library differs between versions, and its errors share no base class.
        if isinstance(e, (OSError, HfHubHTTPError)) or module.startswith(("httpx", "httpcore", "requests", "urllib3")):
            raise ReadingFailed(_unreachable(source, e)) from e
        raise


def _not_visible(source: str) -> str:
    return (
        f"the hub shows no {source} to a job, which has no token of yours; check the name in PHI_DATASET, or {HERE} "
        "for a dataset that is private or asks for its licence to be accepted"
    )


def _not_loaded(source: str, error: Exception) -> str:
    why = " ".join(str(error).split()).rstrip(".")
    return f"{source} can't be loaded: {why}; name a split that it has in PHI_DATASET, or another dataset"


def _unreachable(source: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return (
        f"the job can't reach the Hugging Face hub for {source} ({reason}); let the cluster's network reach it, or "
        f"{HERE} to read on your own machine"
    )


def write(dataset: Iterable[Any], folder: Path) -> dict[str, Any]:
    """Write the two files to the folder; return the contents of rows.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).unlink(missing_ok=True)
    digest, count, size = hashlib.sha256(), 0, 0
    with (folder / ROWS).open("wb") as file:
        for row in dataset:
            line = as_line(dict(row))
            file.write(line)
            digest.update(line)
            count, size = count + 1, size + len(line)
            if count % _STEP == 0:
                print(f"{count:,} rows", flush=True)
    summary = {"rows": count, "bytes": size, "sha256": digest.hexdigest()}
    (folder / MARKER).write_text(json.dumps(summary) + "\n", encoding="utf-8")
    return summary


def as_line(row: dict[str, Any]) -> bytes:
    """The row as one line of JSON. NaN and infinity become null; a value without a JSON type becomes text."""
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=_as_text)
    except ValueError:
        text = json.dumps(_finite(row), ensure_ascii=False, default=_as_text)
    return text.encode() + b"\n"


def _as_text(value: Any) -> str:
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


if __name__ == "__main__":
    sys.exit(main())
