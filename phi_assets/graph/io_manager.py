"""The I/O manager: an asset's record as JSON in the home's `records` folder, and any other value pickled.

The asset catalog gets each record too, with the versions that Dagster compares. An op's record for the next op is in
the `steps` folder of `records`, by run and step.
"""

import json
import time
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.errors import BackendError
from phi_assets.files import atomic_write, set_aside
from phi_assets.graph.asset_keys import name_of
from phi_assets.graph.dagster_internals import versions_of_output
from phi_assets.ports.catalog import AssetCatalog, Materialised
from phi_assets.ports.heartbeats import RunHeartbeats
from phi_assets.records import Record, RecordUnreadable


class RecordIOManager(dg.ConfigurableIOManager):
    """The latest record of each asset, one file per asset key. Raises RecordMissing where there is none.

    What is not a record goes to Dagster's own FilesystemIOManager, in the folder `values` beside `records`.
    """

    folder: str
    catalog: AssetCatalog | None = None
    heartbeats: RunHeartbeats | None = None
    """Renewed while a run uses this I/O manager, which each run does that makes an asset."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if obj is None:
            return
        if not isinstance(obj, Record):
            self._values.handle_output(context, obj)
            return
        path = self._path(context.asset_key) if context.has_asset_key else self._path_of_step(context)
        if context.has_asset_key and self.unreadable(context.asset_key):
            set_aside(path)
        atomic_write(path, obj.to_json())
        context.add_output_metadata({"record": dg.MetadataValue.path(str(path))})
        if self.catalog and context.has_asset_key:
            self.catalog.put(_materialised(context, obj))

    def load_input(self, context: dg.InputContext) -> Any:
        if not context.has_asset_key and context.upstream_output:
            stored = Record.load(self._path_of_step(context.upstream_output))
            return stored or self._values.load_input(context)
        if context.has_asset_key and not self._path(context.asset_key).is_file() and self._has_value(context):
            return self._values.load_input(context)
        return self.require(context.asset_key)

    @property
    def _values(self) -> dg.IOManager:
        folder = Path(self.folder).with_name("values")
        return dg.FilesystemIOManager(base_dir=str(folder)).create_io_manager(dg.build_init_resource_context())

    def _has_value(self, context: dg.InputContext) -> bool:
        return Path(self.folder).with_name("values").joinpath(*context.asset_key.path).exists()

    def keep(self, key: dg.AssetKey, record: Record) -> None:
        """Store the asset's last record in this home. One that cannot be read is set aside."""
        if self.unreadable(key):
            set_aside(self._path(key))
        atomic_write(self._path(key), record.to_json())

    def require(self, key: dg.AssetKey) -> Record:
        """Return the asset's last record: this home's, else the catalog's. Raises RecordMissing."""
        try:
            record = Record.load(self._path(key))
            if record is None and self.catalog:
                record = self.catalog.record(name_of(key))
        except RecordUnreadable as e:
            raise RecordMissing(f"{name_of(key)} cannot be used, because {e}; materialise it again") from e
        if record is None:
            raise RecordMissing(f"{name_of(key)} does not exist yet; materialise it first")
        return record

    def latest(self, key: dg.AssetKey) -> Record | None:
        """Return the asset's last record: this home's, else the catalog's; None when there is none that can be read."""
        if self._path(key).is_file() or not self.catalog:
            return self.here(key)
        try:
            return self.catalog.record(name_of(key))
        except (RecordUnreadable, BackendError):
            return None

    def here(self, key: dg.AssetKey) -> Record | None:
        """Return the record that this home has of the asset; None when there is none that can be read."""
        try:
            return Record.load(self._path(key))
        except RecordUnreadable:
            return None

    def all_latest(self) -> dict[str, Record]:
        """Return the last record of every asset that this home has and that can be read, by the asset's name."""
        keys = [dg.AssetKey(path.stem) for path in sorted(Path(self.folder).glob("*.json"))]
        found = {name_of(key): self.here(key) for key in keys}
        return {name: record for name, record in found.items() if record}

    def unreadable(self, key: dg.AssetKey) -> str:
        """Return why the asset's last record cannot be read; empty when it can, or when there is none."""
        try:
            Record.load(self._path(key))
        except RecordUnreadable as e:
            return f"{e} ({self._path(key)})"
        return ""

    def _path_of_step(self, context: dg.OutputContext) -> Path:
        return Path(self.folder, "steps", *context.get_identifier()).with_suffix(".json")

    def _path(self, key: dg.AssetKey) -> Path:
        return Path(self.folder, *dg.AssetKey.from_user_string(name_of(key)).path).with_suffix(".json")


def _materialised(context: dg.OutputContext, record: Record) -> Materialised:
    code_version, inputs = versions_of_output(context)
    return Materialised(
        asset=name_of(context.asset_key),
        data_version=record.digest,
        code_version=code_version,
        inputs={name_of(dg.AssetKey.from_user_string(key)): version for key, version in inputs.items()},
        record=json.loads(record.to_json()),
        run=context.run_id,
        at=time.time(),
    )


class RecordMissing(LookupError):
    """An upstream asset was never materialised in this home."""
