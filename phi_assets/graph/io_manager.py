"""The project's only I/O manager: an asset's record, as JSON, in the home's `records` folder.

An op's output for the next op is in its `steps` folder, by run and step.
"""

from pathlib import Path

import dagster as dg

from phi_assets.files import atomic_write
from phi_assets.records import Record


class RecordIOManager(dg.ConfigurableIOManager):
    """The latest record of each asset, one file per asset key. Raises RecordMissing where there is none."""

    folder: str

    def handle_output(self, context: dg.OutputContext, obj: Record | None) -> None:
        if obj is None:
            return
        path = self._path(context.asset_key) if context.has_asset_key else self._path_of_step(context)
        atomic_write(path, obj.to_json())
        context.add_output_metadata({"record": dg.MetadataValue.path(str(path))})

    def load_input(self, context: dg.InputContext) -> Record:
        if not context.has_asset_key and context.upstream_output:
            return Record.from_json(self._path_of_step(context.upstream_output).read_text(encoding="utf-8"))
        return self.require(context.asset_key)

    def require(self, key: dg.AssetKey) -> Record:
        """Return the asset's last record. Raises RecordMissing."""
        record = self.latest(key)
        if record is None:
            raise RecordMissing(f"{key.to_user_string()} does not exist yet; materialise it first")
        return record

    def latest(self, key: dg.AssetKey) -> Record | None:
        """Return the asset's last record; None when it was never materialised in this home."""
        path = self._path(key)
        return Record.from_json(path.read_text(encoding="utf-8")) if path.is_file() else None

    def _path_of_step(self, context: dg.OutputContext) -> Path:
        return Path(self.folder, "steps", *context.get_identifier()).with_suffix(".json")

    def _path(self, key: dg.AssetKey) -> Path:
        return Path(self.folder, *key.path).with_suffix(".json")


class RecordMissing(LookupError):
    """An upstream asset was never materialised in this home."""
