"""A graph of three assets, `grain` -> `flour` -> `bread`, and a source, with the project's I/O manager and gates."""

from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.backends.local.operations.asset_catalog import HomeCatalog
from phi_assets.graph import check_gates
from phi_assets.graph.asset_facts import stored_by
from phi_assets.graph.dagster_internals import observed_source
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.base import Port
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.records import Record


class Thing(Record):
    """The record of a toy asset."""


class Cupboard(Port):
    """A port that stores a record as an empty file named by its digest."""

    folder: str

    def put(self, digest: str) -> Thing:
        (Path(self.folder) / digest).touch()
        return Thing(digest=digest)

    def find(self, digest: str) -> Record | None:
        return Thing(digest=digest) if (Path(self.folder) / digest).exists() else None


MADE = ("grain", "flour", "bread")


def toy_graph(
    folder: Path, *, source: str = "s1", content: dict[str, str] | None = None, **changes: Any
) -> dg.Definitions:
    """Return the toy graph; `content` sets the digest of an asset, `changes` its code version or verdict."""
    makes = {"grain": "g1", "flour": "f1", "bread": "b1", **(content or {})}

    @observed_source(dg.AssetSpec("field"))
    def field() -> dg.ObserveResult:
        return dg.ObserveResult(data_version=dg.DataVersion(source))

    def result(cupboard: Cupboard, name: str) -> dg.MaterializeResult:
        return dg.MaterializeResult(value=cupboard.put(makes[name]), data_version=dg.DataVersion(makes[name]))

    @dg.asset(
        deps=[field],
        tags=changes.get("grain_tags", {}),
        metadata=stored_by("cupboard"),
        code_version=changes.get("grain_code", "1"),
    )
    def grain(cupboard: Cupboard) -> dg.MaterializeResult[Thing]:
        return result(cupboard, "grain")

    @dg.asset(code_version=changes.get("flour_code", "1"), metadata=stored_by(changes.get("elsewhere", "cupboard")))
    def flour(grain: Thing, cupboard: Cupboard, catalog: AssetCatalog) -> dg.MaterializeResult[Thing]:
        check_gates.require_passed(catalog, "grain", grain.digest)
        return result(cupboard, "flour")

    @dg.asset(code_version=changes.get("bread_code", "1"), metadata=stored_by(changes.get("elsewhere", "cupboard")))
    def bread(flour: Thing, cupboard: Cupboard) -> dg.MaterializeResult[Thing]:
        return result(cupboard, "bread")

    @dg.asset_check(asset="grain", blocking=True)
    def clean(grain: Thing, catalog: AssetCatalog) -> dg.AssetCheckResult:
        outcome = CheckOutcome(changes.get("clean", True), "stones")
        return check_gates.check_result(catalog, "clean", "grain", changes.get("subject", grain.digest), outcome)

    catalog = HomeCatalog(state=str(folder))
    return dg.Definitions(
        assets=[field, grain, flour, bread],
        asset_checks=[clean],
        resources={
            "cupboard": Cupboard(folder=str(folder)),
            "catalog": catalog,
            "io_manager": RecordIOManager(folder=str(folder / "records"), catalog=catalog),
        },
    )
