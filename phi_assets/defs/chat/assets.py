"""What people and programs chat with: the chat page, and Prompt flow's connection, chat flow and its evaluation."""

import dagster as dg

from phi_assets.defs.chat.metadata import describe_chat, describe_flow_evaluation, describe_package
from phi_assets.graph.asset_facts import ML, NEEDS_CHAT, NEEDS_PROMPT_FLOW, on_azure, stored_by
from phi_assets.ports.chat import ChatHost, ConnectionStore, FlowStore
from phi_assets.ports.serving import EndpointHost
from phi_assets.records import BaseModel, ChatApp, Connection, Deployment, Endpoint, FlowEvaluation, FlowPackage
from phi_assets.settings import Settings


@dg.asset(
    group_name="chat",
    kinds={"python"},
    owners=ML,
    deps=on_azure("chat_database", "chat_environment"),
    metadata=NEEDS_CHAT
    | stored_by(
        "chat_host",
        *("chat_port", "chat_hosts", "chat_system_prompt", "chat_max_tokens", "chat_temperature", "chat_answers"),
        *("chat_day_requests", "chat_day_tokens", "chat_words", "chat_content_safety", "chat_content_safety_severity"),
        *("keep_chat_days", "traces", "trace_content"),
    ),
)
def chat_app(
    context: dg.AssetExecutionContext,
    online_endpoint: Endpoint,
    online_deployment: Deployment,
    base_model: BaseModel,
    endpoint_host: EndpointHost,
    chat_host: ChatHost,
) -> dg.MaterializeResult[ChatApp]:
    """The chat page and its server over the endpoint; a trial server answers a question before it takes over."""
    endpoint_host.start(context.log.info)  # after `phi down` nothing answers
    app = chat_host.deploy(online_endpoint, online_deployment, base_model, endpoint_host.key(), context.log.info)
    return dg.MaterializeResult(value=app, data_version=dg.DataVersion(app.digest), metadata=describe_chat(app))


@dg.asset(
    group_name="chat", kinds={"promptflow"}, owners=ML, metadata=NEEDS_PROMPT_FLOW | stored_by("connection_store")
)
def endpoint_connection(
    context: dg.AssetExecutionContext,
    online_endpoint: Endpoint,
    endpoint_host: EndpointHost,
    connection_store: ConnectionStore,
) -> dg.MaterializeResult[Connection]:
    """A Prompt flow connection with the endpoint's address and current key, or no key where it takes Entra tokens."""
    connection = connection_store.connect(online_endpoint, endpoint_host.key(), context.log.info)
    return dg.MaterializeResult(
        value=connection,
        data_version=dg.DataVersion(connection.digest),
        metadata={"name": connection.name, "address": dg.MetadataValue.url(connection.address)},
    )


@dg.asset(
    group_name="chat",
    kinds={"promptflow"},
    owners=ML,
    deps=["online_deployment"],
    metadata=NEEDS_PROMPT_FLOW | stored_by("flow_store"),
)
def chat_flow(
    context: dg.AssetExecutionContext,
    endpoint_connection: Connection,
    endpoint_host: EndpointHost,
    flow_store: FlowStore,
) -> dg.MaterializeResult[FlowPackage]:
    """The chat flow as a folder to serve or to build a container from, tested against the live endpoint."""
    endpoint_host.start(context.log.info)
    package = flow_store.package(endpoint_connection, context.log.info)
    return dg.MaterializeResult(
        value=package, data_version=dg.DataVersion(package.digest), metadata=describe_package(package)
    )


@dg.asset(
    group_name="chat",
    kinds={"promptflow"},
    owners=ML,
    deps=["evaluation_questions"],
    metadata=NEEDS_PROMPT_FLOW | stored_by("flow_store", "evaluation_questions", "min_flow_share_right"),
)
def chat_flow_evaluation(
    context: dg.AssetExecutionContext,
    chat_flow: FlowPackage,
    online_deployment: Deployment,
    endpoint_host: EndpointHost,
    flow_store: FlowStore,
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[FlowEvaluation]:
    """The chat flow's answers to the evaluation questions, scored row by row by Prompt flow's batch run."""
    endpoint_host.start(context.log.info)
    evaluation = flow_store.evaluate(chat_flow, online_deployment, settings.questions_file, context.log.info)
    return dg.MaterializeResult(
        value=evaluation,
        data_version=dg.DataVersion(evaluation.digest),
        metadata=describe_flow_evaluation(evaluation),
    )
