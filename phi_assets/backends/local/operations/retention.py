"""What a laptop's home stores: folders, and the trainings that MLflow tracks."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from phi_assets.backends.home_storage import HomeStorage, size_of
from phi_assets.backends.local.evaluation.registry import MlflowRegistry
from phi_assets.backends.local.training import tracking
from phi_assets.errors import BackendError
from phi_assets.models.retention_policy import Stored
from phi_assets.ports.base import Log
from phi_assets.ports.operations import Retention

CLEANED = "phi/cleaned"  # tag of a run that a clean deletes


class LocalRetention(Retention):
    """Removes folders of the home, and runs of its MLflow experiment."""

    state: str
    mlflow: str

    def stored(self, log: Log) -> list[Stored]:
        del log
        return [*self._home.stored(), *(self._trainings() if self._tracks else ())]

    def remove(self, stored: Stored) -> None:
        if stored.kind == "tracked training":
            self._registry.client.set_tag(stored.digest, CLEANED, "true")
            self._registry.client.delete_run(stored.digest)  # hides it; `sweep` deletes it
        self._home.remove(stored)

    def sweep(self) -> None:
        self._home.sweep()
        hidden = [run.info.run_id for run in self._runs(deleted=True)] if self._tracks else []
        if hidden:
            _delete_for_good(self._registry.tracking_uri, hidden)

    def _trainings(self) -> Iterator[Stored]:
        for run in self._runs(deleted=False):
            artifacts = Path(unquote(urlsplit(run.info.artifact_uri).path)).parent
            yield Stored(
                kind="tracked training",
                name=run.info.run_id[:12],
                digest=run.info.run_id,
                places=(),
                bytes=size_of(artifacts),
                at=run.info.start_time / 1000,
                refers_to=(run.data.tags[tracking.MODEL],),
            )

    def _runs(self, *, deleted: bool) -> list[Any]:
        from mlflow.entities import ViewType

        view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
        wanted = CLEANED if deleted else tracking.MODEL
        found, token = [], None
        while True:
            page = self._registry.client.search_runs(
                [self._registry.experiment()], run_view_type=view, max_results=tracking.MAX_RUNS, page_token=token
            )
            found += [run for run in page if wanted in run.data.tags]
            token = page.token
            if not token:
                return found

    @property
    def _tracks(self) -> bool:
        return Path(self.mlflow, "mlflow.db").is_file()

    @cached_property
    def _home(self) -> HomeStorage:
        return HomeStorage(Path(self.state))

    @cached_property
    def _registry(self) -> MlflowRegistry:
        return MlflowRegistry(home=self.mlflow)


def _delete_for_good(tracking_uri: str, run_ids: Sequence[str]) -> None:
    """Delete hidden runs with their metrics and artifacts. Only the command can: the client has no method for it."""
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "gc",
        "--backend-store-uri",
        tracking_uri,
        "--run-ids",
        ",".join(run_ids),
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "MLFLOW_TRACKING_URI": tracking_uri},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        end = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise BackendError(
            f"MLflow could not delete {len(run_ids)} tracked trainings ({''.join(end)}); `phi clean` tries it again"
        )
