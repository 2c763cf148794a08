"""Tracks trainings as runs of one MLflow experiment: settings, losses, scores, and the candidate."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi_assets.graph.run_tags import CANDIDATE
from phi_assets.models.experiments import Scores, Trained, losses_of
from phi_assets.records import Evaluation, ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL, RECIPE, DATASET = "phi/model", "phi/recipe", "phi/dataset"
CHAMPION, EVALUATION, GATE = "phi/champion", "phi/evaluation", "phi/gate"
LIVE = "phi/live"  # on the run of a training that has not ended: the digest of its inputs
FAILS = "fails "
SHOWN = ("report.json", "loss_curve.png", "mask.png")
PREFERENCE_CURVE = "preference_curve.png"
MAX_RUNS = MAX_METRICS = 1000  # MLflow's limits of one request


def log_training(
    client: "MlflowClient", experiment: str, model: ModelVersion, folder: Path, tags: Mapping[str, str]
) -> str:
    """The id of the MLflow run of this model and candidate (none: the graph's own); created if missing."""
    candidate = tags.get(CANDIDATE, "")
    known = _run_of(client, experiment, model.digest, candidate)
    if known is not None:
        return known.info.run_id
    live = _live(client, experiment, f"tags.dagster_run = '{model.training_run}'", candidate)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    about = {MODEL: model.digest, RECIPE: model.preset, DATASET: model.dataset_digest}
    name = candidate or f"{model.preset} {model.digest[:12]}"
    run_id = live or client.create_run(experiment, tags={**about, **tags}, run_name=name).info.run_id
    if live:
        for key, value in {**about, **tags, "mlflow.runName": name}.items():
            client.set_tag(run_id, key, value)
    for key, value in report["config"].items():
        client.log_param(run_id, key, value)
    for key, series in (("loss", report["losses"]), ("validation_loss", report["validation_losses"])):
        _log_series(client, run_id, key, series)
    preference = report.get("preference") or {}
    _log_series(client, run_id, "preference_loss", preference.get("losses", ()))
    measured = {name: preference.get(name) for name in ("preferred_before", "preferred_after")}
    known = {name: value for name, value in measured.items() if value is not None}
    for key, value in (losses_of(report) | known).items():
        client.log_metric(run_id, key, value)
    for artifact in (*SHOWN, *([PREFERENCE_CURVE] if (folder / PREFERENCE_CURVE).is_file() else [])):
        client.log_artifact(run_id, str(folder / artifact))
    client.set_terminated(run_id)
    return run_id


def begin(client: "MlflowClient", experiment: str, inputs: str, tags: Mapping[str, str], name: str) -> str:
    """The id of the MLflow run to which a training sends its curves; that of an interrupted one with these inputs."""
    run_id = _live(client, experiment, f"tags.`{LIVE}` = '{inputs}'", tags.get(CANDIDATE, ""))
    if run_id is None:
        return client.create_run(experiment, tags={LIVE: inputs, **tags}, run_name=name).info.run_id
    client.update_run(run_id, status="RUNNING")
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
    return run_id


def end(client: "MlflowClient", run_id: str, model: ModelVersion | None, dagster_run: str) -> None:
    """End the run of a training that failed; delete that of one whose weights an earlier training had made."""
    if model is None:
        client.set_terminated(run_id, "FAILED")
    elif model.training_run != dagster_run:
        client.delete_run(run_id)


def _live(client: "MlflowClient", experiment: str, where: str, candidate: str) -> str | None:
    found = client.search_runs([experiment], where)
    ids = (each.info.run_id for each in found if _is_live(each, candidate))
    return next(ids, None)


def _is_live(run: Any, candidate: str) -> bool:
    tags = run.data.tags
    return LIVE in tags and MODEL not in tags and tags.get(CANDIDATE, "") == candidate


def _log_series(client: "MlflowClient", run_id: str, key: str, series: Sequence[Mapping[str, Any]]) -> None:
    """Log a loss by step in few transactions: one for each step would take a minute for 3,000 steps."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    last = max((each.step for each in client.get_metric_history(run_id, key)), default=0)  # what was sent live
    points = [Metric(key, point["loss"], now, int(point["step"])) for point in series if point["step"] > last]
    for start in range(0, len(points), MAX_METRICS):
        client.log_batch(run_id, metrics=points[start : start + MAX_METRICS])


def log_evaluation(
    client: "MlflowClient",
    experiment: str,
    model: ModelVersion,
    evaluation: Evaluation,
    scores: Scores,
    candidate: str,
) -> str | None:
    """Log the scores on the training's MLflow run and return its id; None when there is no such run."""
    run = _run_of(client, experiment, model.digest, candidate)
    if run is None:
        return None
    run_id = run.info.run_id
    for name in ("bits_per_byte", "right", "general_kept"):
        value = getattr(scores, name)
        if value is not None:
            client.log_metric(run_id, name, value)
    about = {GATE: scores.gate, CHAMPION: evaluation.champion or "none", EVALUATION: evaluation.digest}
    for name, value in about.items():
        client.set_tag(run_id, name, value)
    return run_id


def trainings(client: "MlflowClient", experiment: str) -> list[Trained]:
    """Every tracked training, the newest first."""
    runs = client.search_runs([experiment], max_results=MAX_RUNS, order_by=["attributes.start_time DESC"])
    return [_trained(run) for run in _with_model(runs)]


def _trained(run: Any) -> Trained:
    tags, metrics = run.data.tags, run.data.metrics
    gate = tags.get(GATE)
    scores = gate and Scores(
        bits_per_byte=metrics.get("bits_per_byte"),
        right=metrics.get("right"),
        general_kept=metrics.get("general_kept"),
        failed=tuple(gate.removeprefix(FAILS).split(", ")) if gate.startswith(FAILS) else (),
    )
    return Trained(
        candidate=tags.get(CANDIDATE, ""),
        recipe=tags[RECIPE],
        settings=dict(run.data.params),
        dataset=tags[DATASET],
        model=tags[MODEL],
        dagster_run=tags.get("dagster_run", ""),
        began=run.info.start_time / 1000,
        minutes=metrics.get("minutes"),
        loss=metrics.get("final_loss"),
        validation_loss=metrics.get("best_validation_loss"),
        scores=scores or None,
        champion=tags.get(CHAMPION, ""),
        address=run.info.run_id,
    )


def _run_of(client: "MlflowClient", experiment: str, digest: str, candidate: str) -> Any:
    found = client.search_runs([experiment], f"tags.`{MODEL}` = '{digest}'")
    return next((run for run in found if run.data.tags.get(CANDIDATE, "") == candidate), None)


def _with_model(runs: Iterable[Any]) -> list[Any]:
    return [run for run in runs if MODEL in run.data.tags]
