"""Base models: the pretrained model that fine-tuning starts from, made safe and uniform before anything loads it."""

from phi_assets.base_models.model_errors import (
    BaseModelError,
    BaseModelMissing,
    HubUnreachable,
    IncompleteModel,
    UnknownBaseModel,
    UnsafeModel,
)
from phi_assets.base_models.model_store import ResolvedModel, find_model
from phi_assets.base_models.reference import BaseModelSpec, FolderModel, HubModel, PackagedModel, parse_base_model
from phi_assets.base_models.resolve import find, resolve

__all__ = [
    "BaseModelError",
    "BaseModelMissing",
    "BaseModelSpec",
    "FolderModel",
    "HubModel",
    "HubUnreachable",
    "IncompleteModel",
    "PackagedModel",
    "ResolvedModel",
    "UnknownBaseModel",
    "UnsafeModel",
    "find",
    "find_model",
    "parse_base_model",
    "resolve",
]
