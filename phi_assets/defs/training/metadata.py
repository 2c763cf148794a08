"""Metadata of the base model and of a fine-tuned model."""

import itertools
import json
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.backends import replay_sets
from phi_assets.graph import metadata_values
from phi_assets.models.experiments import losses_of
from phi_assets.records import BaseModel, ModelVersion, Replay


def describe_base(model: BaseModel, folder: Path) -> dict[str, Any]:
    """Return source, size and notes of the base model."""
    return {
        "source": metadata_values.text(model.source),
        "architecture": metadata_values.text(model.architecture),
        "parameters": model.parameters,
        "context_length": model.context_length,
        "notes": metadata_values.text("\n".join(model.notes) or "none"),
        "chat_template": metadata_values.block((folder / "chat_template.jinja").read_text(encoding="utf-8"), "jinja"),
        "folder": dg.MetadataValue.path(str(folder)),
    }


def describe_replay(replay: Replay, folder: Path) -> dict[str, Any]:
    """Return what was kept and left out of each source, and the first conversations."""
    found = replay_sets.read(folder)
    rows = [
        (each["file"], each["conversations"], each["kept"], each["answered_by_base"], _counts(each["left_out"]))
        for each in found["sources"]
    ]
    with (folder / replay_sets.ROWS).open(encoding="utf-8") as lines:
        first = [json.loads(line)["messages"] for line in itertools.islice(lines, 10)]
    return {
        "conversations": replay.conversations,
        "sources": metadata_values.table(("file", "conversations", "kept", "answered by the base", "left out"), rows),
        "first_conversations": metadata_values.table(
            ("asked", "answer"), [(each[-2]["content"], each[-1]["content"]) for each in first if len(each) > 1]
        ),
        "folder": dg.MetadataValue.path(str(folder)),
    }


def _counts(left_out: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "none"


def describe_training(model: ModelVersion, folder: Path) -> dict[str, Any]:
    """Return losses, speed and memory of the training, its loss curve, and which tokens are in the loss.

    report.json in the folder also has the loss of each step.
    """
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    mask = folder / "mask.html"  # an Azure model of an earlier release has none
    return {
        "preset": metadata_values.text(model.preset),
        "dataset": model.dataset_digest[:12],
        "loss_curve": metadata_values.picture(folder / "loss_curve.png"),
        **({"tokens_in_loss": metadata_values.tokens_in_loss(mask)} if mask.is_file() else {}),
        "tokens": metadata_values.table(("what", "tokens"), report["tokens"].items()),
        **_plan(report.get("plan") or {}),  # a report of an earlier release has none
        **_preference(report.get("preference") or {}, folder / "preference_curve.png"),
        **{name: report[name] for name in SHOWN if report.get(name) is not None},
        **{name: dg.MetadataValue.float(value) for name, value in losses_of(report).items()},
        "report": dg.MetadataValue.json(_short(report)),
        "folder": dg.MetadataValue.path(str(folder)),
    }


def _short(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report without its longest parts."""
    return {
        name: _short(value) if name == "preference" else value for name, value in report.items() if name not in LONG
    }


def _plan(plan: dict[str, Any]) -> dict[str, Any]:
    """Return what was said before the training started: steps and their size, and the warning about them."""
    said = {name: value for name, value in plan.items() if value not in (None, "")}
    words = {name: metadata_values.text(said.pop(name)) for name in ("note", "warning") if name in said}
    table = {"plan": metadata_values.table(("of the plan", "value"), said.items())} if said else {}
    return {**table, **words}


def _preference(found: dict[str, Any], curve: Path) -> dict[str, Any]:
    """Return what preference training did, or why there was none; nothing where the recipe has none."""
    if not found:
        return {}
    pairs, why_not = found["pairs"], found["not_done"]
    rows = [
        ("pairs learned", 0 if why_not else pairs["train"]),
        ("pairs held out", f"{pairs['held_out']} ({pairs['held_out_share']:.0%})"),
        ("pairs left out", _counts(pairs["left_out"]).replace("_", " ")),
    ]
    if why_not:
        return {"preference_training": _about_preference([*rows, ("not done", why_not)])}
    measured = {when: found[f"preferred_{when}"] for when in ("before", "after")}
    rows += [("optimizer steps", found["steps"]), ("preferred means", f"likelier by {found['preferred_by']}")]
    rows += [
        (f"chosen preferred {when}", "no pair is held out" if share is None else f"{share:.0%} of the pairs held out")
        for when, share in measured.items()
    ]
    return {
        "preference_training": _about_preference(rows),
        **{f"preferred_{when}": dg.MetadataValue.float(share) for when, share in measured.items() if share is not None},
        **({"preference_curve": metadata_values.picture(curve)} if curve.is_file() else {}),
    }


def _about_preference(rows: list[tuple[str, Any]]) -> dg.MarkdownMetadataValue:
    return metadata_values.table(("of preference training", "value"), rows)


LONG = ("losses", "validation_losses", "files", "turns", "config")  # MLflow has them, and the folder's report.json
SHOWN = (
    "best_validation_loss",
    "best_step",
    "steps",
    "stopped_early",
    "tokens_per_second",
    "seconds",
    "peak_memory_gb",
    "parameters_trained",
    "resumed_from",
)
