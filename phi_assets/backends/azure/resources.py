"""The Azure implementation of every port."""

from pathlib import Path
from typing import Any

from phi_assets.backends import chat_server
from phi_assets.backends.azure.chat.chat_host import AzureChatHost
from phi_assets.backends.azure.chat.connection_store import AzureConnectionStore
from phi_assets.backends.azure.chat.shared_answers import AzureAnswers
from phi_assets.backends.azure.chat.shared_flows import AzureFlowStore
from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.dataset.store import AzureDatasetStore
from phi_assets.backends.azure.evaluation.evaluator import AzureEvaluator
from phi_assets.backends.azure.evaluation.registry import AzureModelRegistry
from phi_assets.backends.azure.infrastructure.cloud_resources import AzureChatResources, AzureResources
from phi_assets.backends.azure.infrastructure.provisioner import AzureProvisioner
from phi_assets.backends.azure.infrastructure.quota import AzureQuota
from phi_assets.backends.azure.operations.asset_catalog import AzureCatalog
from phi_assets.backends.azure.operations.blob_heartbeats import BlobHeartbeats
from phi_assets.backends.azure.operations.costs import AzureCosts
from phi_assets.backends.azure.operations.preflight import AzurePreflight
from phi_assets.backends.azure.operations.retention import AzureRetention
from phi_assets.backends.azure.operations.teardown import AzureTeardown
from phi_assets.backends.azure.serving.host import AzureEndpointHost
from phi_assets.backends.azure.training.base_model_store import AzureBaseModelStore
from phi_assets.backends.azure.training.replay_store import AzureReplayStore
from phi_assets.backends.azure.training.trainer import AzureTrainer
from phi_assets.backends.dataset_preparation import cleaning_options
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.settings import Settings

SIGN_IN = str(Path(__file__).with_name("chat") / "flow_token.py")


def azure_resources(settings: Settings) -> dict[str, Any]:
    """Every Dagster resource of the graph on Azure; local state is stored under the home."""
    state = str(settings.state)
    account = AzureAccount.of(settings).fields
    roles = settings.azure_role_minutes
    general = str(settings.general_file) if settings.general_file else None
    job: dict[str, Any] = {
        "vm_size": settings.azure_vm_size,
        "max_job_cost": settings.azure_max_job_cost,
        "queue_minutes": settings.azure_queue_minutes,
    }
    quota: dict[str, Any] = {
        "account": account,
        "vm_size": settings.azure_vm_size,
        "nodes": settings.azure_nodes,
        "endpoint_vm_size": settings.azure_endpoint_vm_size,
        "endpoint_instances": settings.azure_endpoint_instances,
        "max_job_cost": settings.azure_max_job_cost,
        "max_train_minutes": settings.max_train_minutes,
        "idle_minutes": settings.azure_idle_minutes,
        "request": settings.azure_request_quota,
    }
    common: dict[str, Any] = {"account": account, "state": state, "role_minutes": roles}
    catalog, heartbeats = AzureCatalog(**common), BlobHeartbeats(account=account)
    return {
        "catalog": catalog,
        "heartbeats": heartbeats,
        "io_manager": RecordIOManager(folder=str(settings.state / "records"), catalog=catalog, heartbeats=heartbeats),
        "cloud_resources": AzureResources(account=account, purge_protection=settings.azure_purge_protection),
        **(_chat(settings, account) if settings.has_chat else {}),
        "compute_quota": AzureQuota(**quota),
        "provisioner": AzureProvisioner(
            account=account,
            purge_protection=settings.azure_purge_protection,
            vm_size=settings.azure_vm_size,
            nodes=settings.azure_nodes,
            idle_minutes=settings.azure_idle_minutes,
            role_minutes=roles,
        ),
        "dataset_store": AzureDatasetStore(
            source=settings.dataset_address,
            cleaning=cleaning_options(settings),
            inbox=str(settings.inbox),
            blob_inbox=settings.azure_inbox,
            reading=job if settings.reads_on_azure else None,
            **common,
        ),
        "base_model_store": AzureBaseModelStore(base_model=settings.base_model, **common),
        "replay_store": AzureReplayStore(
            sources={str(file): weight for file, weight in settings.replay_sources.items()},
            general_file=general,
            **common,
            **job,
        ),
        "trainer": AzureTrainer(preset=settings.preset, max_minutes=settings.max_train_minutes, **common, **job),
        "evaluator": AzureEvaluator(
            questions_file=str(settings.questions_file) if settings.questions_file else None,
            general_file=general,
            **common,
            **job,
        ),
        "registry": AzureModelRegistry(account=account, role_minutes=roles),
        "endpoint_host": AzureEndpointHost(
            account=account,
            vm_size=settings.azure_endpoint_vm_size,
            instances=settings.azure_endpoint_instances,
            auth=settings.azure_endpoint_auth,
            concurrency=settings.azure_endpoint_concurrency,
            request_seconds=settings.azure_request_seconds,
            canary_share=settings.azure_canary_share,
            canary_minutes=settings.azure_canary_minutes,
            role_minutes=roles,
        ),
        "connection_store": AzureConnectionStore(account=account, state=state, role_minutes=roles),
        "shared_answers": AzureAnswers(account=account),
        "flow_store": AzureFlowStore(
            concurrency=settings.flow_concurrency,
            sign_in=SIGN_IN,
            signs_in=settings.azure_endpoint_auth == "aad_token",
            **common,
        ),
        "retention": AzureRetention(**common),
        "preflight": AzurePreflight(
            account=account,
            vm_size=settings.azure_vm_size,
            endpoint_vm_size=settings.azure_endpoint_vm_size,
            endpoint_instances=settings.azure_endpoint_instances,
            base_model=settings.base_model,
            quota=quota,
            monthly_budget=settings.azure_monthly_budget,
            chat_client_id=settings.azure_chat_client_id,
        ),
        "cost_report": AzureCosts(
            account=account, vm_size=settings.azure_vm_size, monthly_budget=settings.azure_monthly_budget
        ),
        "teardown": AzureTeardown(account=account),
    }


def _chat(settings: Settings, account: dict[str, str]) -> dict[str, Any]:
    """What only the chat needs."""
    return {
        "chat_resources": AzureChatResources(account=account),
        "chat_host": AzureChatHost(
            account=account,
            client_id=str(settings.azure_chat_client_id),
            image=settings.azure_chat_image,
            system_prompt=_path(settings.file_named("chat_system_prompt")),
            content_safety=chat_server.content_safety(settings),
            words=_path(settings.file_named("chat_words")),
            max_tokens=settings.chat_max_tokens,
            temperature=settings.chat_temperature,
            answers_at_once=settings.chat_answers,
            day_requests=settings.chat_day_requests,
            day_tokens=settings.chat_day_tokens,
            keep_days=settings.keep_chat_days,
            questions_file=str(settings.questions_file) if settings.questions_file else None,
            role_minutes=settings.azure_role_minutes,
        ),
    }


def _path(value: Path | None) -> str | None:
    return str(value) if value else None
