"""Reads splits of Hugging Face hub datasets in a job of the workspace, once per commit."""

import json
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from phi_assets import code_digest
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.jobs.cloud_jobs import CloudJobs, JobLimits
from phi_assets.backends.azure.jobs.spec import CloudJob, recipe
from phi_assets.backends.azure.storage import blob
from phi_assets.conversations.rows import SourceError
from phi_assets.conversations.sources.address import HubSource, RowsFile
from phi_assets.conversations.sources.feeds import Piece, Scan
from phi_assets.errors import BackendError
from phi_assets.files import file_sha256
from phi_assets.ports.base import Log
from phi_assets.project import PROJECT

ROOT = "phi/hub/"
CODE = PROJECT / "dataset_code"
ROWS, MARKER = "rows.jsonl", "rows.json"  # as dataset_code names them


@dataclass(frozen=True)
class Marker:
    """What a job writes last: the number of rows, and the size and digest of the rows file."""

    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class HubReading:
    """Reads hub datasets in jobs. Rows are stored on Blob by commit, and those in current use also under `folder`."""

    clients: AzureClients
    limits: JobLimits
    folder: Path
    log: Log

    def bring(self, scans: list[Scan]) -> list[Scan]:
        """The same scans, with every split of a hub dataset replaced by a local file. Raises JobFailed."""
        result = [replace(scan, pieces=tuple(self._fetched(piece) for piece in scan.pieces)) for scan in scans]
        used = {
            piece.origin.path.parent for scan in result for piece in scan.pieces if isinstance(piece.origin, RowsFile)
        }
        for other in self.folder.iterdir() if self.folder.is_dir() else ():
            if other not in used:  # of another commit: it remains on Blob
                shutil.rmtree(other, ignore_errors=True)
        return result

    def _fetched(self, piece: Piece) -> Piece:
        if not isinstance(piece.origin, HubSource):
            return piece
        return replace(piece, origin=RowsFile(self._rows(piece.origin), piece.origin))

    def _rows(self, source: HubSource) -> Path:
        """The file with the rows of a source whose revision is a commit."""
        commit = str(source.revision)
        made_of = recipe(source.name, commit, source.split, code_digest.of_trees([CODE]))
        stored = self.folder / made_of[:32]
        if _is_complete(stored):
            return stored / ROWS
        jobs = CloudJobs(self.clients, self.limits, self.log)
        place = f"{ROOT}{commit}/{made_of[:16]}/"
        if _marker_on_blob(jobs.blobs, place) is None:
            jobs.run(_job(source, made_of, place), lambda: _marker_on_blob(jobs.blobs, place) is not None)
        marker = _marker_on_blob(jobs.blobs, place)
        assert marker
        self.log(f"{blob.address(place)}: {marker.rows:,} rows of {source}")
        for name in (ROWS, MARKER):  # the marker last, as the job writes it
            jobs.blobs.fetch(place + name, stored / name)
        if file_sha256(stored / ROWS) != marker.sha256:
            shutil.rmtree(stored)
            jobs.blobs.remove(place)
            raise BackendError(
                description=f"{blob.address(place)}{ROWS} differs from the digest that the job recorded, and was "
                "removed; run again to read the dataset again"
            )
        return stored / ROWS


def _job(source: HubSource, made_of: str, place: str) -> CloudJob:
    words = (
        "python dataset_code/read_hub.py",
        *(shlex.quote(f"--{name}={value}") for name, value in _arguments(source).items()),
        "--output_dir=${{outputs.result}}",
    )
    return CloudJob(
        kind="read",
        recipe=made_of,
        title=f"read hf:{source.name}:{source.split} at {str(source.revision)[:12]}",
        command=" ".join(words),
        code={"dataset_code": CODE},
        inputs={},
        output=place,
        output_mode="upload",
        tags={"hub_dataset": source.name, "commit": str(source.revision), "split": source.split},
        variables=_mirror(source),
    )


def _arguments(source: HubSource) -> dict[str, str]:
    return {"dataset": source.name, "commit": str(source.revision), "split": source.split}


def _mirror(source: HubSource) -> dict[str, str]:
    """The variable that names the hub's mirror, if this machine uses one. Raises SourceError."""
    from huggingface_hub import constants

    if constants.ENDPOINT == "https://huggingface.co":
        return {}
    if "@" in constants.ENDPOINT:
        raise SourceError(
            f"HF_ENDPOINT contains a password, which everybody who may see the job could read; set "
            f"PHI_AZURE_READ_DATASETS=here to read {source} on this machine"
        )
    return {"HF_ENDPOINT": constants.ENDPOINT}


def _is_complete(stored: Path) -> bool:
    marker = stored / MARKER
    rows = stored / ROWS
    return marker.is_file() and rows.is_file() and rows.stat().st_size == _marker(marker.read_bytes()).bytes


def _marker_on_blob(blobs: blob.WorkspaceBlobs, place: str) -> Marker | None:
    """The marker, if the rows file exists with the size that it records; else None."""
    content = blobs.read(place + MARKER)
    marker = _marker(content) if content else None
    return marker if marker and blobs.size(place + ROWS) == marker.bytes else None


def _marker(content: bytes) -> Marker:
    return Marker(**json.loads(content))
