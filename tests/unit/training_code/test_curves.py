"""The losses of a training are metrics of an MLflow run while it runs."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.training_code.conftest import Recorder
from training_code import curves
from training_code.settings import Settings

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers.modeling_utils"),
]
Make = Callable[..., Settings]
Run = Callable[[Settings], tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    SqlAlchemyStore(uri, folder.as_uri())
    return uri


@pytest.fixture(scope="module")
def server(database: str) -> Iterator[str]:
    """The address of MLflow's own server over the database."""
    from werkzeug.serving import make_server

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_MLFLOW_SERVER_FILE_STORE", database)
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "file:///nowhere")
        from mlflow.server import app

        made = make_server("127.0.0.1", 0, app, threaded=True)
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.port}"
        made.shutdown()
        made.server_close()


@pytest.fixture
def mlflow_run(database: str) -> tuple[Any, str]:
    """A client and the id of a new run."""
    from mlflow import MlflowClient

    client = MlflowClient(database)
    return client, client.create_run("0").info.run_id


def steps(client: Any, run: str, key: str) -> list[tuple[int, float]]:
    return sorted((each.step, each.value) for each in client.get_metric_history(run, key))


@pytest.mark.parametrize("kind", [pytest.param("database", marks=pytest.mark.long), "server"])
def test_every_loss_of_a_training_is_a_metric_of_the_run(
    settings: Make,
    train: Run,
    mlflow_run: tuple[Any, str],
    database: str,
    server: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
):
    client, run = mlflow_run
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database if kind == "database" else server)
    monkeypatch.setenv("AZUREML_RUN_ID" if kind == "server" else "MLFLOW_RUN_ID", run)
    report, _ = train(settings(epochs=2))

    for key, losses in (("loss", "losses"), ("validation_loss", "validation_losses")):
        assert steps(client, run, key) == [(each["step"], each["loss"]) for each in report[losses]]
    assert len(steps(client, run, "learning_rate")) == report["steps"]


def curves_of(uri: str, run: str) -> tuple[curves.Curves, Recorder]:
    log = Recorder()
    return curves.Curves(uri, run, log), log


def log_step(made: curves.Curves, step: int, loss: float) -> None:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    state: Any = TrainerState(global_step=step)
    made.on_log(TrainingArguments, state, TrainerControl(), logs={"loss": loss, "grad_norm": 1.0})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["database", "server"])
def test_a_resumed_training_does_not_send_a_step_twice(
    mlflow_run: tuple[Any, str], database: str, server: str, kind: str
):
    client, run = mlflow_run
    uri = database if kind == "database" else server
    for first, last in ((1, 4), (3, 6)):  # stopped in step 4, and resumed from step 2
        made, _ = curves_of(uri, run)
        for step in range(first, last + 1):
            log_step(made, step, 1 / step)
        made._send(curves.store_of(uri, run))
        assert made.waiting == []

    assert steps(client, run, "loss") == [(step, 1 / step) for step in range(1, 7)]
    assert steps(client, run, "grad_norm") == []


def test_a_server_that_does_not_answer_is_warned_about_once_and_stops_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(curves, "SECONDS", 0.01)
    made, log = curves_of("http://127.0.0.1:9", "gone")
    nothing: Any = None
    made.on_train_begin(nothing, nothing, nothing)
    for step in range(1, 20):
        log_step(made, step, 1.0)
    made.over.wait(0.2)
    made.on_train_end(nothing, nothing, nothing)

    assert len(log.lines) == 1
    assert log.lines[0].startswith("warning: the curves in MLflow are not live: URLError")
    assert made.thread is not None
    assert not made.thread.is_alive()


def test_a_job_of_azure_sends_to_its_workspace_with_its_identity(monkeypatch: pytest.MonkeyPatch):
    from azure.core.credentials import AccessToken

    from training_code import pipes

    class Identity:
        def get_token(self, scope: str) -> AccessToken:
            return AccessToken(f"for {scope}", 0)

    seen: list[Any] = []

    def answer(request: Any, timeout: float) -> Any:
        seen.append((request.full_url, request.get_header("Authorization")))
        raise OSError("far enough")

    monkeypatch.setattr(pipes, "job_credential", Identity)
    monkeypatch.setattr(curves, "urlopen", answer)
    store = curves.store_of("azureml://eastus2.api.azureml.ms/mlflow/v1.0/subscriptions/s", "phi-train-1")
    with pytest.raises(OSError, match="far enough"):
        store.log([])

    assert seen == [
        (
            "https://eastus2.api.azureml.ms/mlflow/v1.0/subscriptions/s/api/2.0/mlflow/runs/log-batch",
            "Bearer for https://management.azure.com/.default",
        )
    ]


@pytest.mark.parametrize(
    ("variables", "live"),
    [
        ({}, False),
        ({"MLFLOW_TRACKING_URI": "http://x"}, False),
        ({"MLFLOW_TRACKING_URI": "http://x", "MLFLOW_RUN_ID": "r"}, True),
        ({"MLFLOW_TRACKING_URI": "http://x", "MLFLOW_RUN_ID": "r", "WORLD_SIZE": "2", "RANK": "1"}, False),
    ],
)
def test_rank_0_sends_curves_where_a_run_is_named(
    variables: dict[str, str], live: bool, monkeypatch: pytest.MonkeyPatch
):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "AZUREML_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert bool(curves.live_curves(Recorder())) == live
