"""What a project has made, for every machine that works on it: the backend's record, which event logs follow."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from phi_assets.records import Record, RecordUnreadable


@dataclass(frozen=True)
class Materialised:
    """The last materialisation of an asset, with the versions that Dagster compares. `at`: seconds since 1970."""

    asset: str
    data_version: str
    code_version: str
    inputs: Mapping[str, str] = field(metadata={"doc": "data version of each upstream asset"})
    record: Mapping[str, Any] = field(metadata={"doc": "the values of the asset's record, as `to_json` writes them"})
    run: str
    at: float

    def to_record(self) -> Record:
        """Return the record, as the machine wrote it that made it. Raises RecordUnreadable."""
        return Record.from_json(json.dumps(dict(self.record)))

    def same_versions(self, other: "Materialised") -> bool:
        """Return whether both are of the same data, code and inputs."""
        return (self.data_version, self.code_version, dict(self.inputs)) == (
            other.data_version,
            other.code_version,
            dict(other.inputs),
        )


@dataclass(frozen=True)
class Verdict:
    """What a blocking check said of one version of an asset, and the digest of the rules that it judged by."""

    asset: str
    subject: str = field(metadata={"doc": "the digest of the version"})
    check: str
    passed: bool
    description: str
    numbers: Mapping[str, Any]
    rules: str
    at: float


class AssetCatalog(dg.ConfigurableResource, ABC):
    """The last materialisation of each asset of a project, and the verdicts of its checks.

    Reading raises BackendError where the place cannot be read, and NewerCatalog where a newer release of phi-assets
    wrote what is read. What cannot be written is stored later.
    """

    @abstractmethod
    def materialisations(self) -> dict[str, Materialised]:
        """Return the last materialisation of every asset, by name; nothing before the first."""

    @abstractmethod
    def latest(self, asset: str) -> Materialised | None:
        """Return the last materialisation of one asset; None before the first."""

    @abstractmethod
    def put(self, made: Materialised) -> None:
        """Store the last materialisation of an asset. The same versions again change nothing."""

    @abstractmethod
    def verdicts(self, asset: str, subject: str) -> dict[str, Verdict]:
        """Return the last verdict of each check on the version, by the check's name."""

    @abstractmethod
    def judge(self, verdicts: Iterable[Verdict]) -> None:
        """Store verdicts on one version of an asset, in place of earlier ones of the same checks."""

    @abstractmethod
    def send(self) -> None:
        """Store what could not be stored when it was made: before the place existed, or while it was out of reach."""

    def wait_until_readable(self, log: Callable[[str], None]) -> None:
        """Return when what is stored can be read, where that may take minutes. Raises BackendError after a timeout."""
        del log

    def record(self, asset: str) -> Record | None:
        """Return the last record of the asset, as the machine wrote it that made it. Raises RecordUnreadable."""
        made = self.latest(asset)
        return made.to_record() if made else None

    def records(self) -> dict[str, Record]:
        """Return the last record of every asset that can be read, by the asset's name."""
        found = {}
        for name, made in self.materialisations().items():
            with suppress(RecordUnreadable):
                found[name] = made.to_record()
        return found


class NewerCatalog(RuntimeError):
    """A newer release of phi-assets wrote to this project: this one can neither read that nor write beside it."""
