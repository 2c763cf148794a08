"""A tiny model passed through every port of a backend; each result is computed at first access and cached."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.models.recipes import Recipe
from phi_assets.ports.evaluation import Contest
from phi_assets.records import (
    BaseModel,
    Connection,
    DatasetVersion,
    Deployment,
    Endpoint,
    Evaluation,
    FlowPackage,
    ModelVersion,
    Record,
    RegisteredModel,
    Replay,
)


@dataclass
class Chain:
    """The resources of one backend, and their cached results. `elsewhere` are those of another machine or process."""

    resources: dict[str, Any]
    dataset_file: Path
    elsewhere: dict[str, Any] = field(default_factory=dict)

    def port(self, name: str) -> Any:
        return self.resources[name]

    @cached_property
    def dataset(self) -> DatasetVersion:
        return self.port("dataset_store").publish(print)

    @cached_property
    def base(self) -> BaseModel:
        return self.port("base_model_store").resolve(print)

    @cached_property
    def replay(self) -> Replay:
        return in_a_run(lambda context: self.port("replay_store").make(context, self.base))

    @cached_property
    def model(self) -> ModelVersion:
        return self.train()

    @cached_property
    def evaluation(self) -> Evaluation:
        return self.evaluate()

    @cached_property
    def registered(self) -> RegisteredModel:
        return self.port("registry").register(self.model, self.evaluation, {"made_by": "a test"})

    @cached_property
    def endpoint(self) -> Endpoint:
        return self.port("endpoint_host").ensure_endpoint(print)

    @cached_property
    def deployment(self) -> Deployment:
        assert self.endpoint
        return self.port("endpoint_host").deploy(self.registered, print)

    @cached_property
    def connection(self) -> Connection:
        return self.port("connection_store").connect(self.endpoint, self.port("endpoint_host").key())

    @cached_property
    def package(self) -> FlowPackage:
        assert self.deployment
        return self.port("flow_store").package(self.connection, print)

    def train(self, recipe: Recipe | None = None) -> ModelVersion:
        return in_a_run(
            lambda context: self.port("trainer").train(context, self.dataset, self.base, self.replay, recipe)
        )

    def evaluate(self) -> Evaluation:
        # Evaluated before the first champion was registered.
        contest = Contest(self.base, self.model, self.dataset, None)
        return in_a_run(lambda context: self.port("evaluator").evaluate(context, contest))


def in_a_run(work: Callable[[dg.AssetExecutionContext], Record]) -> Any:
    """Run `work` inside a Dagster run; return its result."""
    made: list[Record] = []

    @dg.asset
    def something(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        made.append(work(context))
        return dg.MaterializeResult(value=None)

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([something], instance=instance).success
    return made[0]


def another(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with a champion that does not exist."""
    return replace(evaluation, champion="phi-chat/999")
