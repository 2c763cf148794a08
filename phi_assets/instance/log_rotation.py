"""The logs of servers and of Dagster in a home, which grow as long as their process lives."""

from pathlib import Path

from phi_assets.settings import Settings

MOST, REST = 10_000_000, 1_000_000  # bytes of a log before it is rotated, and of its end that stays as <log>.1


def long_logs(settings: Settings) -> list[Path]:
    """Return the logs to rotate. Their writers append, so that they go on at the start of an emptied file."""
    found = [settings.state / "dagster.log", *sorted((settings.state / "endpoints").glob("*/*.log"))]
    return [each for each in found if each.is_file() and each.stat().st_size > MOST]


def rotate(log: Path) -> None:
    """Keep the end of the log as `<log>.1`, and empty it."""
    with log.open("rb+") as stream:
        stream.seek(-min(REST, log.stat().st_size), 2)
        log.with_name(f"{log.name}.1").write_bytes(stream.read())
        stream.truncate(0)
