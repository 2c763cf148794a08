"""The asset catalog as documents: one for each asset, and one for the verdicts on each version of an asset."""

import dataclasses
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from phi_assets.backends.documents import FolderDocuments, UnsentDocuments
from phi_assets.ports.catalog import AssetCatalog, Materialised, NewerCatalog, Verdict

SCHEMA = 1
ASSETS, VERDICTS = "assets", "verdicts"


class DocumentCatalog(AssetCatalog):
    """A catalog in the documents of a folder or a container."""

    @abstractmethod
    def documents(self, name: str) -> FolderDocuments | UnsentDocuments:
        """Return the documents of one kind: ASSETS or VERDICTS."""

    def materialisations(self) -> dict[str, Materialised]:
        found = {}
        for content in self.documents(ASSETS).all().values():
            values = _values(content)
            if values:
                found[str(values["asset"])] = Materialised(**values)
        return found

    def latest(self, asset: str) -> Materialised | None:
        found = self.documents(ASSETS).read(f"{asset}.json")
        values = _values(found[0]) if found else None
        return Materialised(**values) if values else None

    def put(self, made: Materialised) -> None:
        def changed(content: bytes | None) -> bytes | None:
            stored = _values(content) if content else None
            same = stored and Materialised(**stored).same_versions(made)
            return None if same else _document(dataclasses.asdict(made))

        self.documents(ASSETS).change(f"{made.asset}.json", changed)

    def verdicts(self, asset: str, subject: str) -> dict[str, Verdict]:
        found = self.documents(VERDICTS).read(_verdicts_of(asset, subject))
        values = _values(found[0]) if found else None
        return {name: Verdict(**each) for name, each in (values or {}).items()}

    def send(self) -> None:
        for name in (ASSETS, VERDICTS):
            self.documents(name).send()

    def judge(self, verdicts: Iterable[Verdict]) -> None:
        by_version: dict[str, list[Verdict]] = {}
        for verdict in verdicts:
            by_version.setdefault(_verdicts_of(verdict.asset, verdict.subject), []).append(verdict)
        for name, new in by_version.items():

            def changed(content: bytes | None, new: list[Verdict] = new) -> bytes | None:
                stored = (_values(content) if content else None) or {}
                return _document({**stored, **{each.check: dataclasses.asdict(each) for each in new}})

            self.documents(VERDICTS).change(name, changed)


def _newer(stored: bytes, unsent: bytes) -> bytes:
    """Return the later materialisation of an asset."""
    return max(stored, unsent, key=lambda content: float((_values(content) or {}).get("at", 0.0)))


def _both(stored: bytes, unsent: bytes) -> bytes:
    """Return the verdicts of both, the later one of each check."""
    first, second = _values(stored) or {}, _values(unsent) or {}
    return _document({**first, **{name: each for name, each in second.items() if _later(each, first.get(name))}})


def _later(verdict: Mapping[str, Any], than: Mapping[str, Any] | None) -> bool:
    return than is None or float(verdict["at"]) >= float(than["at"])


MERGE = {ASSETS: _newer, VERDICTS: _both}


def _verdicts_of(asset: str, subject: str) -> str:
    return f"{asset}/{subject}.json"


def _document(values: Mapping[str, Any]) -> bytes:
    return json.dumps({"schema": SCHEMA, "values": values}, indent=2).encode()


def _values(content: bytes) -> dict[str, Any] | None:
    """Return the values of a document; None of a damaged one. Raises NewerCatalog."""
    try:
        document = json.loads(content)
        schema, values = int(document["schema"]), dict(document["values"])
    except (ValueError, TypeError, KeyError):
        return None
    if schema > SCHEMA:
        raise NewerCatalog(
            f"a newer release of phi-assets wrote the records of this project (schema {schema}; this release reads "
            f"{SCHEMA}): update phi-assets on this machine"
        )
    return values
