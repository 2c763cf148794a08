"""The version of a SQLite file's schema: older files are migrated, and newer ones are not written."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence


class NewerSchema(sqlite3.OperationalError):
    """A newer release wrote the file; the file itself is intact."""


def prepare(connection: sqlite3.Connection, name: str, migrations: Sequence[str]) -> None:
    """Bring the file to the schema that all migrations make. Raises NewerSchema, having written nothing.

    Migration n, an SQL script, makes version n + 1 of version n; version 0 is an empty file, or one of a release that
    wrote no version. Each must be right when it is run twice, as two processes at once may run it. The version is
    SQLite's `user_version`.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise NewerSchema(
            f"{name} has schema {version} and was written by a newer release, and this one knows schema "
            f"{len(migrations)}: use that release, or another PHI_HOME"
        )
    for number, script in enumerate(migrations[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{script};\nPRAGMA user_version = {number};\nCOMMIT;")
