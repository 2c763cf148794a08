"""Metadata of a dataset version."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.conversations.personal_data import kinds_found
from phi_assets.graph import metadata_values
from phi_assets.records import DatasetVersion

MOST_SOURCES = 200  # the manifest lists all of them

SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("id", "string", description="SHA-256 prefix of the normalised conversation"),
        dg.TableColumn("group", "string", description="id of the near-duplicate group"),
        dg.TableColumn(
            "messages",
            "list<struct<role: string, content: string, learn: bool>>",
            description="the turns, in order; learn is false in a turn that is context only, and else left out",
        ),
    ]
)


def describe_dataset(version: DatasetVersion, folder: Path) -> dict[str, Any]:
    """Return rows, schema, a preview, what was dropped or changed and why, and the quality of the splits."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return {
        "dagster/row_count": sum(version.rows.values()),
        "dagster/column_schema": SCHEMA,
        "rows": metadata_values.table(
            ("split", "conversations", "groups"),
            [(split, count, version.groups[split]) for split, count in version.rows.items()],
        ),
        "own_splits": metadata_values.text(
            "; ".join(f"{rows} rows stay in {side}" for side, rows in manifest["own_splits"].items()) or "none: drawn"
        ),
        "rows_read": manifest["rows_read"],
        "sources": metadata_values.table(
            ("from", "file", "rows", "broken", "sha256", "the same as", "error"),
            [
                (
                    each["feed"],
                    each["name"],
                    each["rows"],
                    each["broken"],
                    each["sha256"][:12],
                    each.get("same_as", ""),
                    each.get("error", ""),
                )
                for each in manifest.get("sources", [])[:MOST_SOURCES]
            ],
        ),
        "source_files": len(manifest.get("sources", [])),
        "quarantined": metadata_values.table(("reason", "rows"), sorted(manifest["reasons"].items())),
        "repaired": metadata_values.table(
            ("repair", "rows"),
            [
                (name, manifest["reasons"][name])
                for name in manifest["settings"]["repairs"]
                if name in manifest["reasons"]
            ],
        ),
        "keys_not_used": metadata_values.table(("key", "rows"), sorted(manifest["unused_keys"].items())),
        "context_only_turns": manifest["context_only_turns"],
        "preference_pairs": manifest["preference_pairs"],
        **({"pairs": metadata_values.table(("split", "pairs"), manifest["pairs"].items())} if version.pairs else {}),
        "personal_data": _personal_data(manifest),
        "broken_rows": manifest["kinds"]["broken"],
        "duplicate_rows": manifest["kinds"]["duplicate"],
        "broken_share": manifest["broken_share"],
        "test_turns_verbatim_in_train": manifest["test_turns_verbatim_in_train"],
        "near_duplicate_groups": manifest["near_duplicate_groups"],
        "warnings": metadata_values.text("\n".join(manifest["warnings"]) or "none"),
        "preview": metadata_values.preview(folder / "train.jsonl"),
        "folder": dg.MetadataValue.path(str(folder)),
        "quarantine": dg.MetadataValue.path(str(folder / "quarantine.jsonl")),
    }


def _personal_data(manifest: dict[str, Any]) -> dg.MarkdownMetadataValue:
    """Return the kinds that were looked for, with the number of values masked, and what was not looked for."""
    settings, masked = manifest.get("settings", {}), manifest.get("masked", {})
    if settings.get("personal_data") == "keep":
        return metadata_values.bullets(["kept as it is: nothing was looked for (PHI_PERSONAL_DATA=keep)"])
    looked_for = kinds_found(tuple(settings.get("regions", ())), settings.get("names_model", ""))
    rows = [(kind, masked.get(kind, 0)) for kind in sorted({*looked_for, *masked})]
    if not settings.get("names_model"):
        rows += [
            ("names of people and postal addresses", "not looked for; PHI_NAMES_MODEL gives a model that finds them")
        ]
    return metadata_values.table(("kind", "masked"), rows)
