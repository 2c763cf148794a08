"""The specification of a job as plain values, and its conversion to an Azure ML command job."""

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from phi_assets.backends.azure.infrastructure import compute
from phi_assets.backends.azure.storage import blob
from phi_assets.files import NEVER_UPLOADED

DIGITS = 16

if TYPE_CHECKING:
    from azure.ai.ml.entities import Command

EXPERIMENT = "phi-assets"
CODE = "phi-code"  # the uploaded folder's name, which becomes part of the code asset's address


@dataclass(frozen=True)
class CloudJob:
    """A command that reads and writes folders in blob storage. `inputs` are addresses by name, `output` is a path.

    `code` maps paths in the job's working directory to the local files and folders that are uploaded there.
    """

    kind: Literal["train", "evaluate", "read", "replay"]
    recipe: str
    title: str
    command: str
    code: Mapping[str, Path]
    inputs: Mapping[str, str]
    output: str
    output_mode: Literal["rw_mount", "upload"]
    tags: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    pipes: bool = False


@dataclass(frozen=True)
class Place:
    """Where a job runs: the environment's reference, the identity's client id, and the time limit in seconds."""

    environment: str
    client_id: str
    seconds: int


def as_command(job: CloudJob, name: str, place: Place, code: Path, variables: Mapping[str, str]) -> "Command":
    """The job as an azure-ai-ml command. It contains identities and addresses, never a key."""
    from azure.ai.ml import Input, Output, command
    from azure.ai.ml.entities import ManagedIdentityConfiguration

    result = command(
        name=name,
        display_name=job.title,
        experiment_name=EXPERIMENT,
        command=job.command,
        code=str(code),
        environment=place.environment,
        compute=compute.NAME,
        inputs={key: Input(type="uri_folder", path=path, mode="download") for key, path in job.inputs.items()},
        outputs={"result": Output(type="uri_folder", path=blob.address(job.output), mode=job.output_mode)},
        environment_variables={**job.variables, **variables},
        identity=ManagedIdentityConfiguration(client_id=place.client_id),
        tags=dict(job.tags),
    )
    result.set_limits(timeout=place.seconds)
    return result


def stage(job: CloudJob, folder: Path) -> Path:
    """Copy the job's code into one new folder, without compiled files."""
    root = folder / CODE
    root.mkdir(parents=True)
    for place, source in job.code.items():
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=NEVER_UPLOADED)
        else:
            shutil.copyfile(source, target)
    return root


def recipe(*parts: str) -> str:
    """SHA-256 over everything that determines a job's result, in the order given."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def job_name(kind: str, recipe: str, attempt: int) -> str:
    """`phi-<kind>-<16 digits>-<attempt>`: attempts are numbered from 1."""
    return f"phi-{kind}-{recipe[:DIGITS]}-{attempt}"


def files_digest(contents: Iterable[bytes]) -> str:
    """SHA-256 over the contents of several files, an absent one being empty."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
