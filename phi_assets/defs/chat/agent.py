"""The chat's agent of Microsoft Agent Framework: its evaluation, and whether it answers as the chat flow does."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from phi_assets import markdown
from phi_assets.backends.agent_store import MAX_TOKENS
from phi_assets.defs.chat.metadata import describe_flow_evaluation
from phi_assets.errors import BackendError
from phi_assets.graph import metadata_values
from phi_assets.graph.asset_facts import ML, NEEDS_AGENT, NEEDS_PROMPT_FLOW, ONLY_ON_LAPTOP, stored_by
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.chat import AgentStore, FlowStore
from phi_assets.ports.serving import EndpointHost
from phi_assets.records import AgentEvaluation, Deployment, Endpoint, FlowPackage
from phi_assets.settings import Settings

HERE = ONLY_ON_LAPTOP | NEEDS_AGENT
SAMPLE = 20
"""Questions that agent and flow are both asked: alone, each takes as long as its whole answer."""
SAME = "Agent and chat flow give the same text at temperature 0, asked one question at a time."


@dg.asset(
    group_name="chat",
    kinds={"python"},
    owners=ML,
    deps=["evaluation_questions"],
    metadata=HERE | stored_by("agent_store", "evaluation_questions"),
)
def agent_evaluation(
    context: dg.AssetExecutionContext,
    online_endpoint: Endpoint,
    online_deployment: Deployment,
    endpoint_host: EndpointHost,
    agent_store: AgentStore,
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[AgentEvaluation]:
    """The agent's answers to the evaluation questions, asked one at a time and marked like the chat flow's."""
    endpoint_host.start(context.log.info)
    evaluation = agent_store.evaluate(
        online_endpoint, endpoint_host.key(), online_deployment, settings.questions_file, context.log.info
    )
    return dg.MaterializeResult(
        value=evaluation,
        data_version=dg.DataVersion(evaluation.digest),
        metadata=describe_flow_evaluation(evaluation),
    )


# `additional_deps`: in one run the flow is packaged first; the evaluation itself does not need it.
@dg.asset_check(
    asset="agent_evaluation", additional_deps=["chat_flow"], description=SAME, metadata=HERE | NEEDS_PROMPT_FLOW
)
def same_as_flow(
    context: dg.AssetCheckExecutionContext,
    agent_evaluation: AgentEvaluation,
    agent_store: AgentStore,
    flow_store: FlowStore,
    catalog: AssetCatalog,
) -> dg.AssetCheckResult:
    """Warns and blocks nothing: the two have clients of their own, and either may be changed alone."""
    flow = catalog.record("chat_flow")
    if not isinstance(flow, FlowPackage):
        return _result(False, "there is no chat flow to compare with; materialise chat_flow")
    rows = spread([row for row in agent_store.rows(agent_evaluation) if row["error"] is None], SAMPLE)
    if not rows:
        return _result(not agent_evaluation.questions, "the agent answered no question: there is nothing to compare")
    context.log.info(f"asking the chat flow {len(rows)} of the questions, one at a time")
    try:
        said = flow_store.ask(flow, [row["messages"] for row in rows], MAX_TOKENS, context.log.info)
    except BackendError as e:
        return _result(False, f"the chat flow could not be asked: {e}")
    pairs = [(row["question"], row["answer"], answer) for row, answer in zip(rows, said, strict=True)]
    different = [(question, agent, flow) for question, agent, flow in pairs if agent != flow]
    described = f"{len(rows) - len(different)} of {len(rows)} sampled answers are the same"
    table = metadata_values.table(("question", "agent", "chat flow"), different)
    return _result(not different, described, {"different": table} if different else {})


def spread(rows: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return at most `count` of the rows, at equal distances."""
    number = min(count, len(rows))
    return [rows[index * len(rows) // number] for index in range(number)]


def _result(passed: bool, described: str, metadata: dict[str, dg.MetadataValue] | None = None) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=markdown.text(described),
        metadata=metadata or {},
    )
