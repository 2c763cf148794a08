"""Code versions: a hash of the source that an asset executes and of the settings that it reads.

The table `READS` is the whole rule. Dagster compares the hash with the one of the last materialisation, so a changed
preset retrains, and a changed README does nothing. Every setting stands in the table, or in `NO_VERSION` with its
reason.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from phi_assets.settings import PROJECT, Settings, current

SOURCE_SUFFIXES = frozenset({".py", ".yaml", ".yml", ".jinja", ".jinja2", ".txt", ".json", ".toml", ".Dockerfile", ""})


@dataclass(frozen=True)
class Reads:
    """What decides an asset's result, apart from its inputs: source trees or files, and names of settings."""

    source: tuple[str, ...]
    settings: tuple[str, ...] = ()


LOCAL = "phi_assets/backends/local"
ENDPOINT = tuple(
    f"{LOCAL}/{name}.py"
    for name in ("endpoint_host", "endpoints", "endpoint_servers", "endpoint_state", "router", "processes")
)

READS: dict[str, Reads] = {
    "ml_workspace": Reads(
        ("phi_assets/defs/infrastructure", f"{LOCAL}/provisioner.py", f"{LOCAL}/registry.py"),
    ),
    "training_compute": Reads(
        ("phi_assets/defs/infrastructure", f"{LOCAL}/provisioner.py", f"{LOCAL}/machine.py"),
    ),
    "training_environment": Reads(
        ("phi_assets/defs/infrastructure", f"{LOCAL}/provisioner.py", f"{LOCAL}/machine.py"),
    ),
    "raw_conversations": Reads(
        ("phi_assets/conversations/source.py", "phi_assets/conversations/hub.py"),
        ("dataset",),
    ),
    "chat_dataset": Reads(
        (
            "phi_assets/defs/dataset",
            "phi_assets/conversations",
            f"{LOCAL}/dataset_store.py",
            f"{LOCAL}/datasets.py",
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
    ),
    "base_model": Reads(
        ("phi_assets/base_models", f"{LOCAL}/base_model_store.py"),
        ("base_model",),
    ),
    "fine_tuned_model": Reads(
        ("phi_assets/defs/training", "training_code", f"{LOCAL}/trainer.py", f"{LOCAL}/child.py"),
        ("preset",),
    ),
    "evaluation_questions": Reads(
        ("phi_assets/defs/evaluation/questions.py",),
        ("evaluation_questions",),
    ),
    "model_evaluation": Reads(
        (
            "phi_assets/defs/evaluation",
            "phi_assets/promotion.py",
            "evaluation_code",
            "serving_code",
            f"{LOCAL}/evaluator.py",
            f"{LOCAL}/child.py",
        ),
        ("evaluation_questions", "promote_on_insufficient_evidence"),
    ),
    "registered_model": Reads(
        ("phi_assets/defs/evaluation", f"{LOCAL}/registry.py"),
    ),
    "online_endpoint": Reads(
        ("phi_assets/defs/serving", *ENDPOINT),
    ),
    "online_deployment": Reads(
        ("phi_assets/defs/serving", "phi_assets/scoring.py", "serving_code", *ENDPOINT),
    ),
    "endpoint_connection": Reads(
        (
            "phi_assets/defs/chat",
            "phi_assets/prompt_flow",
            f"{LOCAL}/connection_store.py",
            f"{LOCAL}/connections.py",
        ),
    ),
    "chat_flow": Reads(
        ("phi_assets/defs/chat", "phi_assets/prompt_flow", "flows/chat", f"{LOCAL}/flow_store.py"),
    ),
    "chat_flow_evaluation": Reads(
        ("phi_assets/defs/chat", "phi_assets/prompt_flow", "flows", "evaluation_code", f"{LOCAL}/flow_store.py"),
        ("evaluation_questions", "min_flow_share_right"),
    ),
}

NO_VERSION: dict[str, str] = {
    "backend": "each backend has a Dagster instance of its own",
    "home": "each home has a Dagster instance of its own",
    "max_train_minutes": "decides whether training starts, not what it makes",
    "flow_concurrency": "decides how fast the batch run is, not what it answers",
    "ui_port": "where Dagster's UI listens",
}


def of(asset: str, settings: Settings | None = None, project: Path = PROJECT) -> str:
    """The code version of an asset: 16 hexadecimal digits. Raises KeyError for an asset that is not in the table."""
    reads = READS[asset]
    chosen = settings or current()
    digest = hashlib.sha256()
    for tree in reads.source:
        digest.update(tree_digest(project / tree).encode())
    for name in reads.settings:
        digest.update(f"{name}={getattr(chosen, name)!r}\n".encode())
    return digest.hexdigest()[:16]


@cache
def tree_digest(tree: Path) -> str:
    """SHA-256 over the names and bytes of a source file, or of every source file in a tree."""
    digest = hashlib.sha256()
    for path in _source_files(tree):
        digest.update(f"{path.relative_to(tree.parent).as_posix()}\0".encode())
        digest.update(path.read_bytes())
        digest.update(b"\0")
    return digest.hexdigest()


def _source_files(tree: Path) -> Iterable[Path]:
    if tree.is_file():
        return [tree]
    found = (path for path in tree.rglob("*") if path.is_file() and path.suffix in SOURCE_SUFFIXES)
    return sorted(path for path in found if not {"__pycache__", ".promptflow"} & set(path.parts))
