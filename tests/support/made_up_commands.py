"""What the `phi` commands read and call, made up, so that they print given texts without Dagster, MLflow or a model."""

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from phi_assets.answer_log import Answers
from phi_assets.cli import ask, azure, down, models, notify, run, status, why
from phi_assets.cli.ask import NothingDeployed
from phi_assets.graph.staleness import AssetState
from phi_assets.instance import dagster_record, dead_runs, home, runs, server
from phi_assets.lineage.events import Deployed, TrainedFrom
from phi_assets.lineage.nearest import Near
from phi_assets.lineage.trace import Lineage
from phi_assets.models.champions import Version
from phi_assets.models.experiments import Scores, Trained
from phi_assets.models.retraining_policy import Decision
from phi_assets.notifications.webhook import Answer
from phi_assets.ports.operations import Bill, Diagnosis, JobCost, Standing, TeardownItem
from phi_assets.records import DatasetVersion, Evaluation, RegisteredModel, Workspace
from serving_code.answers import StoredAnswer

AT = 1_767_348_000.0  # 2026-01-02 10:00 UTC
UI = SimpleNamespace(address="http://127.0.0.1:3000", port=3000, alive=True)
DIGEST = "0123456789abcdef" * 4


def a_state(name: str, group: str, state: Any = "fresh", what: str = "", why: str = "") -> AssetState:
    record = Workspace(digest=DIGEST, name=what, tracking_uri="") if what else None
    since = AT if what else None
    return AssetState(name, group, (), state, tuple(filter(None, [why])), record, since)


def a_version(number: int, state: Any, promoted: str, withdrawn: str = "", right: str = "75 of 80") -> Version:
    model = RegisteredModel(
        digest=DIGEST,
        name="phi-chat",
        version=str(number),
        address="",
        model_digest=f"{number}" * 64,
        dataset_digest=DIGEST,
        training_run="",
    )
    return Version(
        model=model,
        state=state,
        rank=number,
        promoted=promoted,
        promoted_at="2026-01-02T10:00:00+00:00",
        withdrawn=withdrawn,
        withdrawn_at="2026-01-03T10:00:00+00:00" if withdrawn else "",
        withdrawn_by="",
        evaluation="",
        bits_per_byte=0.1234,
        questions_right=right,
    )


def a_training(candidate: str, settings: dict[str, str], failed: Sequence[str] = (), dataset: str = DIGEST) -> Trained:
    return Trained(
        candidate=candidate,
        recipe="",
        settings=settings,
        dataset=dataset,
        model="",
        dagster_run="",
        began=AT,
        minutes=12.3,
        loss=0.028,
        validation_loss=0.31,
        scores=Scores(0.1234, 0.94, 0.98, tuple(failed)),
    )


def an_answer(answer_id: str, question: str, text: str, model: str = "phi-chat", version: str = "1") -> StoredAnswer:
    return StoredAnswer(
        id=answer_id,
        at=AT,
        route="/score",
        deployment="blue",
        model_name=model,
        model_version=version,
        model_digest=DIGEST,
        messages=[{"role": "user", "content": question}],
        answer=text,
    )


class Commands:
    """Replaces what the commands read; each method for one thing."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.patch, self.folder, self.fails = patch, folder, False
        patch.setattr(home, "instance", lambda _: nullcontext(None))
        patch.setattr(server, "find", lambda _: UI)
        patch.setattr(server, "ensure", lambda *_: UI)
        patch.setattr(server, "stop", lambda _: ["daemon (17)"])
        patch.setattr(dagster_record, "read", lambda _: UI)

    def states(self, states: Sequence[AssetState], reason: str = "20 new conversations", address: str = "") -> None:
        host = SimpleNamespace(status=lambda: {"address": address, "alive": False}, start=lambda log: log(address))
        report = {"models": {}, "questions": {"note": "few questions"}}
        evaluator = SimpleNamespace(folder=lambda _: self.folder, report=lambda _: report)
        graph = SimpleNamespace(resources={"endpoint_host": host, "evaluator": evaluator})
        self.patch.setitem(sys.modules, "phi_assets.definitions", SimpleNamespace(definitions=lambda: graph))
        self.patch.setattr(status.staleness, "asset_states", lambda *_: {state.name: state for state in states})
        self.patch.setattr(status, "is_due", lambda *_: SimpleNamespace(decision=Decision(True, reason)))
        self.patch.setattr(status, "_differing", lambda *_: {})

    def registry(self, versions: Sequence[Version] = (), trainings: Sequence[Trained] = ()) -> None:
        registry = SimpleNamespace(versions=lambda: list(versions), trainings=lambda: list(trainings))
        self.patch.setattr(models, "build_resources", lambda _: {"registry": registry})

    def answers(self, found: Sequence[StoredAnswer]) -> None:
        self.patch.setattr(Answers, "newest", lambda *_: list(found))
        self.patch.setattr(Answers, "find", lambda *_: list(found))

    def everything(self, text: str) -> None:
        """All texts that users and models may choose are this text, in every command."""
        self.states([a_state("chat_flow_evaluation", "chat", "stale", text, text)], text, text)
        self.registry([a_version(1, "withdrawn", text, text, text)], [a_training(text, {"lora_rank": text}, [text])])
        self.answers([an_answer(f"chatcmpl-{'0' * 32}", text, text, text, text)])
        self._lineage(text)
        self._run(text)
        self._ask(text)
        self._azure(text)
        host = SimpleNamespace(stop=lambda log: log(text))
        self.patch.setattr(down, "build_resources", lambda _: {"endpoint_host": host})
        self.patch.setenv("PHI_WEBHOOK", "https://example.org/hook")
        self.patch.setattr(notify, "post", lambda *_: Answer(500, text))

    def _lineage(self, text: str) -> None:
        lineage = Lineage(
            answer=an_answer(f"chatcmpl-{'0' * 32}", text, text, text, text),
            others=(),
            deployed=Deployed(AT, "run"),
            model_state=text,
            model_digest=DIGEST,
            model_folder="",
            job=text,
            page=text,
            trained=TrainedFrom("run", text, text, DIGEST, DIGEST),
            dataset=DatasetVersion(digest=DIGEST, address="", rows={text: 1}, groups={}),
            files=(text,),
            base_source=text,
            nearest=(Near(text, 0.5, [], text, text),),
            notes=(text,),
        )
        self.patch.setattr(why, "trace", lambda *_: lineage)
        self.patch.setattr(why, "build_resources", lambda _: {})

    def _run(self, text: str) -> None:
        evaluation = Evaluation(digest=DIGEST, address="", model_digest="", dataset_digest="", champion=None)
        evaluated = AssetState("model_evaluation", "evaluation", (), "fresh", record=evaluation)
        state = a_state("chat_flow_evaluation", "chat", "stale", text, text)
        made = run.Made({state.name: 1.0}, [], {state.name: state, "model_evaluation": evaluated})
        failed = run.Made({}, [f"{state.name}: {text}"], made.states)
        self.patch.setattr(run, "make_graph", lambda *_: failed if self.fails else made)
        row = {
            "kind": "question",
            "messages": [{"role": "user", "content": text}],
            "base": {"reply": text},
            "tuned": {"reply": text},
        }
        (self.folder / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
        self.patch.setattr(runs, "submit", lambda *_, **__: "run-id")
        self.patch.setattr(runs, "follow", self._follow(text))
        self.patch.setattr(dead_runs, "fail_dead_runs", lambda *_: [])

    def _follow(self, text: str) -> Any:
        def follow(_: object, run_id: str, say: Any) -> runs.Outcome:
            say("registered_model", text)
            return runs.Outcome(run_id, runs.dg.DagsterRunStatus.FAILURE, {}, (f"registered_model: {text}",))

        return follow

    def _ask(self, text: str) -> None:
        found = {
            "question": text,
            "answer": text,
            "id": f"chatcmpl-{'0' * 32}",
            "deployment": text,
            "model": text,
            "model_version": text,
        }
        self.patch.setattr(ask, "ask_deployed", lambda *_: found)
        self.patch.setattr(run.ask, "ask_deployed", lambda *_: found)
        self.patch.setattr(models, "ask_deployed", lambda *_: found)

        def none(*_: object) -> None:
            raise NothingDeployed(text)

        self.patch.setattr(ask, "ask_base", none)

    def _azure(self, text: str) -> None:
        bill = Bill(
            (Standing(text, text, text, 1.0),), (JobCost(text, text, text, "", 1, 1, True, text),), 1, 2, (text,), text
        )
        items = [TeardownItem(text, text, "", text), TeardownItem(text, text, "", text, "keep")]
        ports = {
            "preflight": SimpleNamespace(diagnose=lambda _: [Diagnosis(text, "problem", text, text)]),
            "cost_report": SimpleNamespace(measure=lambda _: bill),
            "teardown": SimpleNamespace(
                plan=lambda *_: items,
                obstacle=lambda _: "",
                confirmation=text,
                take_down=lambda _, log: (log(text), [text])[1],
            ),
        }
        self.patch.setattr(azure, "build_resources", lambda _: ports)
