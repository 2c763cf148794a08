"""The run config of a training: another preset or another dataset version than the settings and the newest."""

import dataclasses
from typing import Any

import dagster as dg
from pydantic import Field

from phi_assets.models import recipes
from phi_assets.ports.dataset import DatasetStore
from phi_assets.records import DatasetVersion

DATASET = "the data version of a published chat_dataset, as its page shows it; empty: the newest"


class Training(dg.Config):
    """What to train on and how, for this run only."""

    preset: str = Field(
        default="", description="a preset of training_code/presets, or a YAML file; empty: the value of PHI_PRESET"
    )
    dataset: str = Field(default="", description=DATASET)

    def recipe(self) -> recipes.Recipe | None:
        """Return the recipe of the preset; None for that of the settings. Raises WrongRecipe."""
        return dataclasses.replace(recipes.of(self.preset, {}), candidate="") if self.preset else None


def dataset_of(digest: str, store: DatasetStore, newest: Any) -> DatasetVersion:
    """Return the dataset version with the digest, or the newest. Raises dg.Failure when there is none."""
    if not digest or digest == newest.digest:
        return newest
    found = store.find(digest)
    if not isinstance(found, DatasetVersion):
        raise dg.Failure(
            f"there is no dataset version {digest}; take a whole data version from the page of chat_dataset, or none "
            "for the newest",
            allow_retries=False,
        )
    return found
