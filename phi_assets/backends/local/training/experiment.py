"""The MLflow experiment of a home: a database under the home, in which trainings are tracked."""

from pathlib import Path
from typing import TYPE_CHECKING

from phi_assets.databases import require_begun
from phi_assets.files import locked

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "phi-assets"
DATABASE = "mlflow.db"


def tracking_uri(home: str) -> str:
    return f"sqlite:///{Path(home).absolute() / DATABASE}"


def client_of(home: str) -> "MlflowClient":
    """A client of the home's database in its current schema. Raises DamagedFile."""
    from mlflow import MlflowClient

    migrate(home)
    return MlflowClient(tracking_uri=tracking_uri(home), registry_uri=tracking_uri(home))


def migrate(home: str) -> None:
    """Migrate the database to the current schema, under a lock: MLflow races in a new store. Raises DamagedFile."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with locked(Path(home, ".store.lock")):
        require_begun(Path(home) / DATABASE)
        SqlAlchemyStore(tracking_uri(home), _artifacts(home))


def experiment_id(client: "MlflowClient", home: str) -> str:
    """The id of the experiment that trainings are tracked in; created if missing."""
    with locked(Path(home, ".experiment.lock")):
        found = client.get_experiment_by_name(EXPERIMENT)
        return found.experiment_id if found else client.create_experiment(EXPERIMENT, _artifacts(home))


def _artifacts(home: str) -> str:
    return (Path(home).absolute() / "artifacts").as_uri()
