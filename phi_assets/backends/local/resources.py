"""Builds the laptop's implementation of every port."""

from pathlib import Path
from typing import Any

from phi_assets.backends import chat_server
from phi_assets.backends.agent_store import LocalAgentStore
from phi_assets.backends.dataset_preparation import cleaning_options
from phi_assets.backends.flow_store import PromptFlowStore
from phi_assets.backends.local.chat.chat_host import LocalChatHost
from phi_assets.backends.local.chat.connection_store import LocalConnectionStore
from phi_assets.backends.local.chat.feedback_store import LocalFeedbackStore
from phi_assets.backends.local.dataset.store import LocalDatasetStore
from phi_assets.backends.local.evaluation.evaluator import LocalEvaluator
from phi_assets.backends.local.evaluation.registry import MlflowRegistry
from phi_assets.backends.local.infrastructure.provisioner import LocalProvisioner
from phi_assets.backends.local.operations.asset_catalog import HomeCatalog
from phi_assets.backends.local.operations.costs import LocalCosts
from phi_assets.backends.local.operations.file_heartbeats import FileHeartbeats
from phi_assets.backends.local.operations.retention import LocalRetention
from phi_assets.backends.local.serving.host import LocalEndpointHost
from phi_assets.backends.local.serving.optimizer import LocalModelOptimizer
from phi_assets.backends.local.training.base_model_store import LocalBaseModelStore
from phi_assets.backends.local.training.replay_store import LocalReplayStore
from phi_assets.backends.local.training.trainer import LocalTrainer
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.settings import Settings


def local_resources(settings: Settings) -> dict[str, Any]:
    """Every resource of the graph on this machine, with all state under the home."""
    state, mlflow = str(settings.state), str(settings.state / "mlflow")
    questions, general = _path(settings.questions_file), _path(settings.general_file)
    sources = {str(file): weight for file, weight in settings.replay_sources.items()}
    catalog, heartbeats = HomeCatalog(state=state), FileHeartbeats(state=state)
    return {
        "catalog": catalog,
        "heartbeats": heartbeats,
        "io_manager": RecordIOManager(folder=str(settings.state / "records"), catalog=catalog, heartbeats=heartbeats),
        "provisioner": LocalProvisioner(state=state),
        "dataset_store": LocalDatasetStore(
            state=state,
            source=settings.dataset_address,
            cleaning=cleaning_options(settings),
            inbox=str(settings.inbox),
        ),
        "base_model_store": LocalBaseModelStore(state=state, base_model=settings.base_model),
        "replay_store": LocalReplayStore(state=state, sources=sources, general_file=general),
        "trainer": LocalTrainer(
            state=state, preset=settings.preset, max_minutes=settings.max_train_minutes, mlflow=mlflow
        ),
        "evaluator": LocalEvaluator(state=state, questions_file=questions, general_file=general),
        "registry": MlflowRegistry(home=mlflow),
        "endpoint_host": LocalEndpointHost(
            state=state, keep_answers_days=settings.keep_answers_days, traces=settings.traces
        ),
        "model_optimizer": LocalModelOptimizer(
            state=state, form=settings.quantize, questions_file=questions, general_file=general
        ),
        "chat_host": LocalChatHost(
            state=state,
            port=settings.chat_port,
            hosts=sorted(settings.chat_hosts),
            system_prompt=_path(settings.file_named("chat_system_prompt")),
            content_safety=chat_server.content_safety(settings),
            words=_path(settings.file_named("chat_words")),
            max_tokens=settings.chat_max_tokens,
            temperature=settings.chat_temperature,
            answers_at_once=settings.chat_answers,
            day_requests=settings.chat_day_requests,
            day_tokens=settings.chat_day_tokens,
            keep_days=settings.keep_chat_days,
            traces=settings.traces,
            trace_content=settings.trace_content,
            questions_file=questions,
        ),
        "feedback_store": LocalFeedbackStore(**feedback_fields(settings)),
        "connection_store": LocalConnectionStore(state=state),
        "cost_report": LocalCosts(),
        "retention": LocalRetention(state=state, mlflow=str(settings.state / "mlflow")),
        "agent_store": LocalAgentStore(state=state),
        "flow_store": PromptFlowStore(state=state, concurrency=settings.flow_concurrency),
    }


def feedback_fields(settings: Settings) -> dict[str, Any]:
    """The fields of the feedback store that every backend has."""
    return {
        "state": str(settings.state),
        "questions_file": _path(settings.questions_file),
        "regions": list(settings.regions),
        "names_model": settings.names_model_folder,
        "personal_data": settings.personal_data,
        "share": settings.feedback_share,
        "person_share": settings.feedback_person_share,
        "page_port": settings.mlflow_port,
    }


def _path(file: Path | None) -> str | None:
    return str(file) if file else None
