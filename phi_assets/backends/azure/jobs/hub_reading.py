"""Splits of hub datasets that a job of the workspace reads: once for each commit, whoever asks."""

import json
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from phi_assets import files
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.jobs.cloud_jobs import CloudJobs, JobLimits
from phi_assets.backends.azure.jobs.spec import CloudJob, recipe
from phi_assets.backends.azure.storage import blob
from phi_assets.conversations.rows import SourceError
from phi_assets.conversations.sources.address import HubSource, RowsFile
from phi_assets.conversations.sources.feeds import Look, Piece
from phi_assets.errors import BackendError
from phi_assets.files import file_sha256
from phi_assets.ports.base import Log
from phi_assets.settings import PROJECT

ROOT = "phi/hub/"
CODE = PROJECT / "dataset_code"
ROWS, MARKER = "rows.jsonl", "rows.json"  # as dataset_code names them


@dataclass(frozen=True)
class Marker:
    """What a job says of the rows that it wrote, when it has written them all."""

    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class HubReading:
    """Reads hub datasets in jobs. Rows lie on Blob under their commit, and those of the last looks under `folder`."""

    clients: AzureClients
    limits: JobLimits
    folder: Path
    log: Log

    def bring(self, looks: list[Look]) -> list[Look]:
        """The same looks, with every split of a hub dataset as a file of this machine. Raises JobFailed."""
        made = [replace(look, pieces=tuple(self._brought(piece) for piece in look.pieces)) for look in looks]
        used = {
            piece.origin.path.parent for look in made for piece in look.pieces if isinstance(piece.origin, RowsFile)
        }
        for other in self.folder.iterdir() if self.folder.is_dir() else ():
            if other not in used:  # of another commit: Blob keeps it
                shutil.rmtree(other, ignore_errors=True)
        return made

    def _brought(self, piece: Piece) -> Piece:
        if not isinstance(piece.origin, HubSource):
            return piece
        return replace(piece, origin=RowsFile(self._rows(piece.origin), piece.origin))

    def _rows(self, source: HubSource) -> Path:
        """The file with the rows of a source whose revision is a commit."""
        commit = str(source.revision)
        made_of = recipe(source.name, commit, source.split, files.tree_sha256(CODE))
        kept = self.folder / made_of[:32]
        if _is_whole(kept):
            return kept / ROWS
        jobs = CloudJobs(self.clients, self.limits, self.log)
        place = f"{ROOT}{commit}/{made_of[:16]}/"
        if _whole_on_blob(jobs.blobs, place) is None:
            jobs.run(_job(source, made_of, place), lambda: _whole_on_blob(jobs.blobs, place) is not None)
        marker = _whole_on_blob(jobs.blobs, place)
        assert marker
        self.log(f"{blob.address(place)}: {marker.rows:,} rows of {source}")
        for name in (ROWS, MARKER):  # the marker comes last here too
            jobs.blobs.fetch(place + name, kept / name)
        if file_sha256(kept / ROWS) != marker.sha256:
            shutil.rmtree(kept)
            jobs.blobs.remove(place)
            raise BackendError(
                description=f"{blob.address(place)}{ROWS} is not what the job wrote, and was removed; "
                "run again to read the dataset anew"
            )
        return kept / ROWS


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
    """The hub that this machine asks, when it is another than Hugging Face's own. Raises SourceError."""
    from huggingface_hub import constants

    if constants.ENDPOINT == "https://huggingface.co":
        return {}
    if "@" in constants.ENDPOINT:
        raise SourceError(
            f"HF_ENDPOINT holds a password, which a job would show to everybody who may see it; set "
            f"PHI_AZURE_READ_DATASETS=here to read {source} on this machine"
        )
    return {"HF_ENDPOINT": constants.ENDPOINT}


def _is_whole(kept: Path) -> bool:
    marker = kept / MARKER
    rows = kept / ROWS
    return marker.is_file() and rows.is_file() and rows.stat().st_size == _marker(marker.read_bytes()).bytes


def _whole_on_blob(blobs: blob.WorkspaceBlobs, place: str) -> Marker | None:
    """What the marker says, when the rows lie beside it."""
    content = blobs.read(place + MARKER)
    marker = _marker(content) if content else None
    return marker if marker and blobs.size(place + ROWS) == marker.bytes else None


def _marker(content: bytes) -> Marker:
    return Marker(**json.loads(content))
