"""Metadata of the chat page, and of the chat flow and its evaluation."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.graph import metadata_values
from phi_assets.markdown import Markdown
from phi_assets.records import AgentEvaluation, ChatApp, FlowEvaluation, FlowPackage

AGENT_MISSING = "not here, and neither is `agent_evaluation`: pip install agent-framework-core agent-framework-openai"


def describe_chat(app: ChatApp) -> dict[str, Any]:
    """Return the page's address, how to open it, and the model that answers."""
    return {
        "address": dg.MetadataValue.url(app.address),
        "open_it": "`phi chat`: the page asks for a link that is used once",
        "agent": f"POST {app.address}/agent" if find_spec("agent_framework_openai") else AGENT_MISSING,
        "endpoint": dg.MetadataValue.url(app.endpoint),
        "model": f"{app.model_name} {app.model_version}",
    }


def describe_package(package: FlowPackage) -> dict[str, Any]:
    """Return the flow's folder and definition, and how to serve it."""
    folder = Path(package.address)
    return {
        "flow": metadata_values.block((folder / "flow.dag.yaml").read_text(encoding="utf-8"), "yaml"),
        "readme": metadata_values.markdown(Markdown((folder / "README.md").read_text(encoding="utf-8"))),
        "folder": dg.MetadataValue.path(str(folder)),
    }


def describe_flow_evaluation(evaluation: FlowEvaluation | AgentEvaluation) -> dict[str, Any]:
    """Return the share of right answers, and every row."""
    lines = (Path(evaluation.address) / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {
        "questions": evaluation.questions,
        "share_right": float(evaluation.share_right)
        if evaluation.share_right is not None
        else "no evaluation questions",
        "failed": sum(row["error"] is not None for row in rows),
        "rows": metadata_values.table(
            ("question", "expected", "answer", "right", "for phi why"),
            [
                (
                    row["question"],
                    ", ".join(row["expected"]),
                    row["answer"] or row["error"],
                    "yes" if row["right"] else "no",
                    row["served_by"]["request_id"] if row["served_by"] else "",
                )
                for row in rows
            ],
        ),
        "folder": dg.MetadataValue.path(evaluation.address),
    }
