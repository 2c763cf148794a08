"""Code versions: a hash of the source that an asset executes and of the settings that it reads.

The table `READS` is the only rule. Dagster compares the hash with the one of the last materialisation, so a changed
preset retrains, and a changed README does nothing. Every setting is in the table, or in `NO_VERSION` with its
reason.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from phi_assets.files import tree_sha256
from phi_assets.graph.catalog import DEPLOYED as DEPLOYED_ASSETS
from phi_assets.settings import PROJECT, Settings, current


@dataclass(frozen=True)
class Reads:
    """What decides an asset's result, apart from its inputs: source trees or files, and names of settings.

    `local` and `azure` are files of that backend; `azure_source` and `azure_settings` apply to Azure only.
    """

    source: tuple[str, ...]
    settings: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    azure: tuple[str, ...] = ()
    azure_source: tuple[str, ...] = ()
    azure_settings: tuple[str, ...] = ()

    def files(self, backend: str) -> tuple[str, ...]:
        """Return every source of a backend."""
        own = {"local": (LOCAL, self.local, ()), "azure": (AZURE, self.azure, self.azure_source)}
        folder, names, trees = own[backend]
        return (*self.source, *(f"{folder}/{name}.py" for name in names), *trees)

    def values(self, backend: str) -> tuple[str, ...]:
        """Return the names of the settings that apply to a backend."""
        return (*self.settings, *(self.azure_settings if backend == "azure" else ()))


def of_stage(stage: str, *names: str) -> tuple[str, ...]:
    """Return files of a stage's folder that decide a result; sensors and automation in it do not."""
    return tuple(f"phi_assets/defs/{stage}/{name}.py" for name in names)


LOCAL = "phi_assets/backends/local"
AZURE = "phi_assets/backends/azure"
INFRASTRUCTURE = "phi_assets/defs/infrastructure"
ENDPOINT = (
    "serving/host",
    "serving/endpoint",
    "serving/servers",
    "serving/state",
    "serving/router",
    "serving/processes",
)
EVALUATION = of_stage("evaluation", "assets", "checks", "metadata", "promotion_config", "questions")
PLACE = ("azure_subscription_id", "azure_location", "azure_name")
DEPLOYED = Reads(
    (f"{INFRASTRUCTURE}/azure_resources.py", "phi_assets/bicep_template.py", "infra/main.json"),
    azure=("infrastructure/cloud_resources", "infrastructure/deployment", "infrastructure/live_state"),
    azure_settings=(*PLACE, "azure_access_mode", "azure_purge_protection"),
)

READS: dict[str, Reads] = {
    **dict.fromkeys(DEPLOYED_ASSETS, DEPLOYED),
    "gpu_quota": Reads(
        (f"{INFRASTRUCTURE}/gpu_quota.py",),
        azure=("infrastructure/quota", "infrastructure/prices"),
        azure_settings=(
            "azure_subscription_id",
            "azure_location",
            "azure_vm_size",
            "azure_nodes",
            "azure_endpoint_vm_size",
            "azure_endpoint_instances",
            "azure_max_job_cost",
            "azure_idle_minutes",
            "azure_request_quota",
            "max_train_minutes",
        ),
    ),
    "ml_workspace": Reads(
        (f"{INFRASTRUCTURE}/assets.py",),
        local=("infrastructure/provisioner", "evaluation/registry"),
        azure=("infrastructure/provisioner",),
        azure_settings=PLACE,
    ),
    "training_compute": Reads(
        (f"{INFRASTRUCTURE}/assets.py",),
        local=("infrastructure/provisioner",),
        azure=("infrastructure/provisioner", "infrastructure/compute"),
        azure_settings=(*PLACE, "azure_vm_size", "azure_nodes", "azure_idle_minutes"),
    ),
    "training_environment": Reads(
        (f"{INFRASTRUCTURE}/assets.py",),
        local=("infrastructure/provisioner",),
        azure=("infrastructure/provisioner", "infrastructure/training_environment", "infrastructure/ml_environment"),
        azure_settings=PLACE,
    ),
    "raw_conversations": Reads(
        tuple(
            f"phi_assets/conversations/sources/{name}.py"
            for name in ("address", "hub_dataset", "feeds", "complete_files", "hash_cache")
        ),
        ("dataset",),
        azure=("dataset/blob_feed",),
    ),
    "chat_dataset": Reads(
        (
            *of_stage("dataset", "assets", "checks", "metadata"),
            "phi_assets/conversations",
            "phi_assets/backends/dataset_preparation.py",
            "phi_assets/backends/dataset_versions.py",
        ),
        (
            "dataset",
            "columns",
            "validation_share",
            "test_share",
            "near_duplicate_threshold",
            "personal_data",
            "max_conversation_characters",
            "max_broken_share",
            "min_rows",
        ),
        local=("dataset/store",),
        azure=("dataset/store", "storage/data_assets", "dataset/blob_feed", "jobs/hub_reading"),
        azure_source=("dataset_code",),
        azure_settings=PLACE,
    ),
    "base_model": Reads(
        ("phi_assets/base_models", f"{LOCAL}/training/base_model_store.py"),
        ("base_model",),
        azure=("training/base_model_store", "storage/data_assets"),
        azure_settings=PLACE,
    ),
    "fine_tuned_model": Reads(
        (*of_stage("training", "assets", "metadata"), "phi_assets/models/recipes.py", "training_code"),
        ("preset",),
        local=("training/trainer", "pipes_child"),
        azure=("training/trainer", "jobs/spec"),
        azure_source=("training_code/environment",),
        azure_settings=PLACE,
    ),
    "evaluation_questions": Reads(
        ("phi_assets/defs/evaluation/questions.py",),
        ("evaluation_questions",),
    ),
    "model_evaluation": Reads(
        (
            *EVALUATION,
            "phi_assets/models/promotion_rules.py",
            "phi_assets/backends/evaluation_reports.py",
            "evaluation_code",
            "serving_code",
        ),
        ("evaluation_questions", "promote_on_insufficient_evidence"),
        local=("evaluation/evaluator", "evaluation/child", "pipes_child"),
        azure=("evaluation/evaluator", "jobs/spec"),
        azure_settings=PLACE,
    ),
    "registered_model": Reads(
        (*EVALUATION, "phi_assets/models/champions.py"),
        local=("evaluation/registry",),
        azure=("evaluation/registry",),
        azure_settings=PLACE,
    ),
    "model_card": Reads(
        (*of_stage("evaluation", "model_card"), "phi_assets/model_card"),
        ("dataset_license",),
        azure_settings=PLACE,
    ),
    "online_endpoint": Reads(
        ("phi_assets/defs/serving",),
        local=ENDPOINT,
        azure=("serving/endpoint", "serving/state", "serving/host"),
        azure_settings=(*PLACE, "azure_endpoint_auth"),
    ),
    "online_deployment": Reads(
        ("phi_assets/defs/serving", "phi_assets/endpoint_client.py", "serving_code"),
        local=ENDPOINT,
        azure=(
            "serving/deployment_spec",
            "serving/blue_green",
            "serving/canary",
            "serving/image",
            "infrastructure/ml_environment",
        ),
        azure_source=("serving_code/environment",),
        azure_settings=(
            *PLACE,
            "azure_endpoint_vm_size",
            "azure_endpoint_instances",
            "azure_endpoint_concurrency",
            "azure_request_seconds",
        ),
    ),
    "endpoint_connection": Reads(
        ("phi_assets/defs/chat", "phi_assets/prompt_flow"),
        local=("chat/connection_store",),
        azure=("chat/connection_store",),
        azure_settings=PLACE,
    ),
    "chat_flow": Reads(
        ("phi_assets/defs/chat", "phi_assets/prompt_flow", "phi_assets/backends/flow_store.py", "flows/chat"),
        azure=("chat/flow_token",),
    ),
    "chat_flow_evaluation": Reads(
        (
            "phi_assets/defs/chat",
            "phi_assets/prompt_flow",
            "phi_assets/backends/flow_store.py",
            "flows",
            "evaluation_code",
        ),
        ("evaluation_questions", "min_flow_share_right"),
    ),
}

NO_VERSION: dict[str, str] = {
    "backend": "each backend has a Dagster instance of its own",
    "home": "each home has a Dagster instance of its own",
    "max_train_minutes": "decides whether training starts, not what it makes",
    "flow_concurrency": "decides how fast the batch run is, not what it answers",
    "inbox": "the content of the folder matters, not its address",
    "azure_inbox": "the content of the folder matters, not its address",
    "azure_read_datasets": "decides where a hub dataset is read, not what it holds",
    "automation": "decides whether runs start by themselves",
    "watch_seconds": "decides the polling interval",
    "retrain_min_new": "decides when training starts, not what it makes",
    "retrain_min_growth": "decides when training starts, not what it makes",
    "retrain_min_drift": "decides when training starts, not what it makes",
    "retrain_cooldown_minutes": "decides when training starts, not what it makes",
    "stale_hours": "decides when a check warns",
    "superseded_days": "decides when a check warns",
    "keep_answers_days": "decides how long answers are stored, not what they are",
    "webhook": "the receiver of failure messages",
    "webhook_format": "the format of failure messages",
    "ui_port": "where Dagster's UI listens",
    "azure_queue_minutes": "decides the timeout of a queued job, not what it makes",
    "azure_role_minutes": "decides the timeout of role propagation",
    "azure_monthly_budget": "decides whether training starts, not what it makes",
    "azure_canary_share": "decides how a new deployment is tried, not what serves in the end",
    "azure_canary_minutes": "decides how long a new deployment is tried, not what serves in the end",
}


def of(asset: str, settings: Settings | None = None, project: Path = PROJECT) -> str:
    """The code version of an asset: 16 hexadecimal digits. Raises KeyError for an asset that is not in the table."""
    reads = READS[asset]
    chosen = settings or current()
    digest = hashlib.sha256()
    for tree in reads.files(chosen.backend):
        digest.update(tree_sha256(project / tree).encode())
    for name in reads.values(chosen.backend):
        digest.update(f"{name}={getattr(chosen, name)!r}\n".encode())
    return digest.hexdigest()[:16]
