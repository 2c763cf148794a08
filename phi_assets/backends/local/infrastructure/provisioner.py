"""On a laptop nothing has to be bought: MLflow on SQLite, this machine, this environment."""

import hashlib
from pathlib import Path

from phi_assets.backends import content_store
from phi_assets.backends.local.evaluation.registry import MlflowRegistry
from phi_assets.backends.local.infrastructure import machine
from phi_assets.ports.infrastructure import Provisioner
from phi_assets.records import Compute, Record, TrainingEnvironment, Workspace


class LocalProvisioner(Provisioner):
    """The laptop's workspace, compute and environment."""

    state: str

    def find(self, digest: str) -> Record | None:
        for record in (machine.this_machine(), machine.this_environment()):
            if record.digest == digest:
                return record
        return content_store.find(
            self._root, digest, lambda folder: (folder.parent.parent / "mlflow" / "mlflow.db").is_file()
        )

    def ensure_workspace(self) -> Workspace:
        registry = MlflowRegistry(home=str(Path(self.state) / "mlflow"))
        registry.migrate()
        uri = registry.tracking_uri
        workspace = Workspace(digest=hashlib.sha256(uri.encode()).hexdigest(), name="laptop", tracking_uri=uri)
        folder = content_store.place(self._root, workspace.digest)
        folder.mkdir(parents=True, exist_ok=True)
        content_store.put(workspace, folder)
        return workspace

    def ensure_compute(self) -> Compute:
        return machine.this_machine()

    def ensure_environment(self) -> TrainingEnvironment:
        return machine.this_environment()

    def differing_packages(self) -> list[str]:
        return machine.differing_packages()

    @property
    def _root(self) -> Path:
        return Path(self.state) / "workspaces"
