"""Fills a home with everything that Dagster's UI shows of users' texts, made by the project's own functions.

No model is trained: the folders of a dataset, a model and an evaluation hold these texts, and are described as the
assets describe them.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.backends.local.operations.asset_catalog import HomeCatalog
from phi_assets.defs.chat.metadata import describe_flow_evaluation
from phi_assets.defs.dataset.checks import DESCRIPTIONS
from phi_assets.defs.dataset.metadata import describe_dataset
from phi_assets.defs.dataset.sensors import _describe
from phi_assets.defs.evaluation.metadata import describe_evaluation
from phi_assets.defs.operations.answer_lineage import describe_lineage
from phi_assets.defs.operations.candidates import verdicts_table
from phi_assets.defs.training.metadata import describe_base, describe_replay, describe_training
from phi_assets.graph import check_gates, metadata_values
from phi_assets.graph.dagster_internals import open_instance
from phi_assets.lineage.events import Deployed, TrainedFrom
from phi_assets.lineage.nearest import Near
from phi_assets.lineage.trace import Lineage
from phi_assets.markdown import Markdown
from phi_assets.model_card.facts import Facts
from phi_assets.model_card.text import write
from phi_assets.models.recipes import Recipe
from phi_assets.outcome import CheckOutcome
from phi_assets.plain_text import plain_text
from phi_assets.records import BaseModel, DatasetVersion, FlowEvaluation, RegisteredModel
from serving_code.answers import StoredAnswer
from tests.support.fake_records import NO_REPLAY, a_model

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000" + "1f15c4890000000d49444154789c63f8cfc0f01f0005000"
    "1ff56c7f9c50000000049454e44ae426082"
)
SHARE = {"right": 1, "count": 2, "share": 0.5}
SCORES = {"bits_per_byte": 0.5, "questions": {"all": SHARE, "shuffled_share": 0.1}, "general_kept": SHARE}
DIGEST = "d" * 64


def report_texts(dagster_home: Path, folder: Path, texts: Sequence[str]) -> str:
    """Report assets, checks and a failed run that show these texts; return the run's id."""
    one = " ".join(texts)
    base = BaseModel(
        digest="b" * 8, address="", source=one, architecture=one, parameters=1, context_length=1, notes=tuple(texts)
    )
    facts = _facts(texts, base)
    assets: dict[str, dict[str, Any]] = {
        "chat_dataset": describe_dataset(
            DatasetVersion(digest=DIGEST, address="", rows={"train": len(texts)}, groups={"train": 1}),
            _dataset(folder, texts),
        ),
        "base_model": describe_base(base, _template(folder, texts)),
        "replay_conversations": describe_replay(NO_REPLAY, _replay(folder, texts)),
        "fine_tuned_model": describe_training(replace(a_model(DIGEST, ""), preset=one), _model(folder)),
        "model_evaluation": describe_evaluation(_report(one), _evaluation(folder, texts)),
        "chat_flow_evaluation": describe_flow_evaluation(_flow_evaluation(folder, texts)),
        "model_card": {
            "card": metadata_values.markdown(
                metadata_values.with_pictures(Markdown(write(facts).partition("\n---\n")[2]), facts.pictures)
            )
        },
    }
    catalog = HomeCatalog(state=str(folder))
    with open_instance(dagster_home) as instance:
        for asset, metadata in assets.items():
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, metadata=metadata))
        instance.report_runless_asset_event(dg.AssetObservation("raw_conversations", metadata=_seen(texts)))
        for name, text in zip(DESCRIPTIONS, [one, *texts], strict=False):
            found = check_gates.check_result(catalog, name, "chat_dataset", DIGEST, CheckOutcome(False, text))
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey("chat_dataset"),
                    check_name=name,
                    passed=False,
                    description=found.description,
                    metadata=found.metadata,
                )
            )
        return _run(instance, texts)


def _run(instance: dg.DagsterInstance, texts: Sequence[str]) -> str:
    """Run what jobs `why` and `candidate` report, and fail with a text."""
    one = " ".join(texts)

    @dg.op(out=dg.Out(dg.Nothing))
    def trace_answer(context: dg.OpExecutionContext) -> None:
        for text in texts:
            context.log.info(plain_text(text, lines=True))
        context.add_output_metadata(describe_lineage(_lineage(texts)))

    @dg.op(ins={"after": dg.In(dg.Nothing)})
    def evaluate_candidate(context: dg.OpExecutionContext) -> None:
        context.add_output_metadata(
            {
                "verdicts": verdicts_table({text[:50]: CheckOutcome(False, text) for text in texts}),
                "as_preset": metadata_values.block(Recipe("laptop", {}, one).as_preset(), "yaml"),
                "notes": metadata_values.bullets(texts),
            }
        )

    @dg.op(ins={"after": dg.In(dg.Nothing)})
    def stop() -> None:
        raise dg.Failure(plain_text(one, lines=True), metadata={"words": metadata_values.text(one)})

    @dg.job
    def shown() -> None:
        stop(evaluate_candidate(trace_answer()))

    return shown.execute_in_process(instance=instance, raise_on_error=False).run_id


def _dataset(folder: Path, texts: Sequence[str]) -> Path:
    place = folder / "dataset"
    place.mkdir()
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    (place / "train.jsonl").write_text(json.dumps({"messages": messages}) + "\n", encoding="utf-8")
    manifest = {
        "rows_read": len(texts),
        "sources": [{"feed": text, "name": text, "rows": 1, "broken": 0, "sha256": DIGEST} for text in texts],
        "reasons": dict.fromkeys(texts, 1),
        "kinds": {"broken": 0, "duplicate": 0},
        "broken_share": 0.0,
        "test_turns_verbatim_in_train": 0,
        "near_duplicate_groups": 0,
        "warnings": list(texts),
        "own_splits": {},
        "unused_keys": dict.fromkeys(texts, 1),
        "context_only_turns": 0,
        "preference_pairs": 0,
        "settings": {"repairs": []},
    }
    (place / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return place


def _replay(folder: Path, texts: Sequence[str]) -> Path:
    place = folder / "replay"
    place.mkdir()
    rows = [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]} for text in texts]
    (place / "replay.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sources = [
        {"file": text, "conversations": 1, "wanted": 1, "kept": 1, "answered_by_base": 1, "left_out": {text: 1}}
        for text in texts
    ]
    report = {"conversations": len(texts), "sources": sources}
    (place / "replay.json").write_text(json.dumps(report), encoding="utf-8")
    return place


def _template(folder: Path, texts: Sequence[str]) -> Path:
    place = folder / "base"
    place.mkdir()
    (place / "chat_template.jinja").write_text(_encodable("\n".join(texts)), encoding="utf-8")
    return place


def _model(folder: Path) -> Path:
    place = folder / "model"
    place.mkdir()
    for name in ("loss_curve.png", "mask.png"):
        (place / name).write_bytes(PIXEL)
    report = {"tokens": {"all": 1}, "losses": [{"loss": 1.0}], "seconds": 1.0}
    (place / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return place


def _report(one: str) -> dict[str, Any]:
    return {
        "models": {"base": SCORES, "tuned": SCORES, "champion": None},
        "comparisons": {"base": {"difference": -0.4, "lower": -0.5, "upper": -0.3}, "champion": None},
        "questions": {"note": one},
    }


def _evaluation(folder: Path, texts: Sequence[str]) -> Path:
    place = folder / "evaluation"
    place.mkdir()
    (place / "evaluation.png").write_bytes(PIXEL)
    rows = [
        {
            "kind": "question",
            "messages": [{"role": "user", "content": text}],
            "answers": [text],
            "base": {"reply": text, "right": True, "reason": ""},
            "tuned": {"reply": text, "right": False, "reason": text},
        }
        for text in texts
    ]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return place


def _flow_evaluation(folder: Path, texts: Sequence[str]) -> FlowEvaluation:
    place = folder / "flow"
    place.mkdir()
    rows = [
        {"question": text, "expected": [text], "answer": text, "right": False, "error": None, "served_by": None}
        for text in texts
    ]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return FlowEvaluation(digest=DIGEST, address=str(place), questions=len(texts), share_right=0.0)


def _facts(texts: Sequence[str], base: BaseModel) -> Facts:
    one = " ".join(texts)
    model = RegisteredModel(
        digest=DIGEST, name="phi", version="1", address="", model_digest=DIGEST, dataset_digest=DIGEST, training_run=""
    )
    return Facts(
        model=model,
        data_licence=one,
        manifest={
            "rows": {"train": 1},
            "groups": {"train": 1},
            "rows_read": 1,
            "reasons": dict.fromkeys(texts, 1),
            "masked": {},
            "sources": [{"feed": "inbox", "name": text, "rows": 1} for text in texts],
        },
        base=base,
        base_licence="mit",
        trained=replace(a_model(DIGEST, ""), preset=one),
        training={"steps": 1, "seconds": 1.0, "best_validation_loss": None, "config": {text: text for text in texts}},
        evaluation=_report(one),
        pictures={},
    )


def _seen(texts: Sequence[str]) -> dict[str, dg.MetadataValue]:
    from phi_assets.conversations.sources.snapshot import Snapshot

    return _describe(Snapshot(DIGEST, {"inbox": {}}, (), {"inbox": " ".join(texts)}, (), tuple(texts), tuple(texts)))


def _lineage(texts: Sequence[str]) -> Lineage:
    one = " ".join(texts)
    asked = [{"role": "user", "content": one}]
    return Lineage(
        answer=StoredAnswer(
            id=one,
            at=0.0,
            route=one,
            deployment=one,
            model_name=one,
            model_version=one,
            model_digest=DIGEST,
            messages=asked,
            answer=one,
        ),
        others=(),
        deployed=Deployed(0.0, "run-1"),
        model_state=one,
        model_digest=DIGEST,
        model_folder="",
        job=one,
        page="",
        trained=TrainedFrom("run-2", one, one, DIGEST, DIGEST),
        dataset=None,
        files=tuple(texts),
        base_source=one,
        nearest=tuple(Near(text, 0.5, asked, text, text) for text in texts),
        notes=tuple(texts),
    )


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
