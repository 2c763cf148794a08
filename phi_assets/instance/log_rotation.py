"""The logs of servers and of Dagster in a home, which grow as long as their process lives."""

from pathlib import Path

from phi_assets.instance import server
from phi_assets.settings import Settings

MOST, REST = 10_000_000, 1_000_000  # bytes of a log before it is rotated, and of its end that stays as <log>.1
APPENDS = 0o2000  # O_APPEND on Linux, as /proc shows it


def long_logs(settings: Settings) -> list[Path]:
    """Return the logs to rotate. Not those whose writer would go on at its old place in an emptied file."""
    dagster = [settings.state / "dagster.log"] if _may_be_emptied(settings) else []
    found = [*dagster, *sorted((settings.state / "endpoints").glob("*/*.log"))]
    return [each for each in found if each.is_file() and each.stat().st_size > MOST]


def rotate(log: Path) -> None:
    """Keep the end of the log as `<log>.1`, and empty it."""
    with log.open("rb+") as stream:
        stream.seek(-min(REST, log.stat().st_size), 2)
        log.with_name(f"{log.name}.1").write_bytes(stream.read())
        stream.truncate(0)


def _may_be_emptied(settings: Settings) -> bool:
    """Return whether no process writes to Dagster's log, or one that appends."""
    running = server.find(settings)
    if running is None:
        return True
    try:
        facts = Path(f"/proc/{running.pid}/fdinfo/1").read_text(encoding="utf-8")
    except OSError:
        return False
    flags = next((line.split()[1] for line in facts.splitlines() if line.startswith("flags:")), "0")
    return bool(int(flags, 8) & APPENDS)
