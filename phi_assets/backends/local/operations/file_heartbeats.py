"""Heartbeats of runs as locked files of the home: the lock ends with the run's process."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from phi_assets.files import is_locked, locked
from phi_assets.ports.heartbeats import RunHeartbeats

STARTING = ".starting"


class FileHeartbeats(RunHeartbeats):
    """A locked file for each run in the folder `run_heartbeats`. It has lapsed when no process holds its lock."""

    state: str

    @contextmanager
    def beat(self, run_id: str) -> Iterator[None]:
        file = self._folder / run_id
        with locked(file.with_suffix(STARTING)):
            file.with_suffix(STARTING).replace(file)  # so that it is never seen without its lock
            try:
                yield
            finally:
                file.unlink(missing_ok=True)

    def lapsed(self) -> list[str]:
        found = sorted(self._folder.glob("*-*"))
        return [file.name for file in found if file.suffix != STARTING and not is_locked(file)]

    def forget(self, run_ids: Collection[str]) -> None:
        for run_id in run_ids:
            (self._folder / run_id).unlink(missing_ok=True)

    @property
    def _folder(self) -> Path:
        return Path(self.state) / "run_heartbeats"
