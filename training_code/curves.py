"""Live curves: the losses of each step as metrics of an MLflow run, while the training runs.

MLFLOW_TRACKING_URI and MLFLOW_RUN_ID name the run; in a job of Azure ML the run is the job (AZUREML_RUN_ID). A server
is asked over MLflow's REST API, which needs no package; a database needs the package mlflow.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from . import ranks
from .pipes import Reporter

URI, RUNS, TOKEN = "MLFLOW_TRACKING_URI", ("MLFLOW_RUN_ID", "AZUREML_RUN_ID"), "MLFLOW_TRACKING_TOKEN"
NAMES = {"loss": "loss", "learning_rate": "learning_rate", "eval_loss": "validation_loss"}
SECONDS = 5.0  # between two requests
TIMEOUT_SECONDS = 20.0
MOST = 1000  # metrics in a request, MLflow's limit
SCOPE = "https://management.azure.com/.default"

Point = dict[str, Any]  # of MLflow's REST API: key, value, timestamp in milliseconds, step


class Store(Protocol):
    """Holds the metrics of one run."""

    def log(self, points: Sequence[Point]) -> None: ...

    def last_step(self, key: str) -> int: ...


class Server:
    """A run on a tracking server."""

    def __init__(self, uri: str, run: str) -> None:
        # The address of a workspace has a scheme of its own for the plug-in that would add the token.
        self.base, self.run = uri.replace("azureml://", "https://", 1).rstrip("/") + "/api/2.0/mlflow", run
        self.is_workspace = uri.startswith("azureml:")

    def log(self, points: Sequence[Point]) -> None:
        self._ask("runs/log-batch", json.dumps({"run_id": self.run, "metrics": list(points)}).encode())

    def last_step(self, key: str) -> int:
        found = self._ask("metrics/get-history?" + urlencode({"run_id": self.run, "metric_key": key}))
        return max((int(each.get("step", 0)) for each in found.get("metrics", ())), default=0)

    def _ask(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        token = os.environ.get(TOKEN) or (self._token() if self.is_workspace else "")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        with urlopen(Request(f"{self.base}/{path}", body, headers), timeout=TIMEOUT_SECONDS) as answer:
            return json.loads(answer.read() or b"{}")

    def _token(self) -> str:
        from .pipes import job_credential

        return job_credential().get_token(SCOPE).token  # cached until it expires


class Database:
    """A run in a database that MLflow opens."""

    def __init__(self, uri: str, run: str) -> None:
        from mlflow import MlflowClient

        self.client, self.run = MlflowClient(uri), run

    def log(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        self.client.log_batch(self.run, [Metric(**point) for point in points])

    def last_step(self, key: str) -> int:
        return max((each.step for each in self.client.get_metric_history(self.run, key)), default=0)


class Curves(TrainerCallback):
    """Sends the metrics of each step to the run from a thread; their names begin with `stage`.

    A step that an interrupted process has sent is not sent again. What cannot be sent is warned about once, and the
    training goes on: the report has every loss.
    """

    def __init__(self, uri: str, run: str, log: Reporter, stage: str = "") -> None:
        self.uri, self.run, self.reporter, self.stage = uri, run, log, stage
        self.waiting: list[Point] = []
        self.sent: dict[str, int] = {}
        self.over = threading.Event()
        self.warned = False
        self.thread: threading.Thread | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.thread = threading.Thread(target=self._send_periodically, name="curves", daemon=True)
        self.thread.start()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        now = int(time.time() * 1000)
        self.waiting += [
            {"key": self.stage + NAMES[name], "value": float(value), "timestamp": now, "step": state.global_step}
            for name, value in given["logs"].items()
            if name in NAMES
        ]

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.over.set()
        if self.thread is not None:
            self.thread.join(2 * TIMEOUT_SECONDS)

    def _send_periodically(self) -> None:
        store: Store | None = None
        while True:
            ended = self.over.wait(SECONDS)
            try:
                store = store or store_of(self.uri, self.run)
                self._send(store)
            except Exception as e:  # any failure of a store that only shows what the report will hold
                if not self.warned:
                    self.warned = True
                    self.reporter.warning(f"the curves in MLflow are not live: {type(e).__name__}: {e}")
            if ended:
                return

    def _send(self, store: Store) -> None:
        points = self.waiting[:]
        for key in {point["key"] for point in points} - self.sent.keys():
            self.sent[key] = store.last_step(key)
        new = [point for point in points if point["step"] > self.sent[point["key"]]]
        for start in range(0, len(new), MOST):
            store.log(new[start : start + MOST])
        del self.waiting[: len(points)]


def store_of(uri: str, run: str) -> Store:
    """The store at the address of an MLflow server, an Azure ML workspace or a database."""
    return Server(uri, run) if uri.startswith(("http:", "https:", "azureml:")) else Database(uri, run)


def live_curves(log: Reporter, stage: str = "") -> list[TrainerCallback]:
    """The callback that sends live curves; none where no run is named, and in other ranks than 0."""
    uri, run = os.environ.get(URI), next((os.environ[name] for name in RUNS if os.environ.get(name)), None)
    return [Curves(uri, run, log, stage)] if uri and run and ranks.is_first() else []
