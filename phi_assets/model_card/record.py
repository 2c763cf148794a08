"""The record of a model card, identified by its text's digest."""

import hashlib
from typing import Protocol

from phi_assets.models.champions import Version
from phi_assets.records import ModelCard, RegisteredModel

README = "README.md"


class Carded(Protocol):
    """The methods of a registry that this module uses."""

    def versions(self) -> list[Version]: ...

    def has_weights(self, model: RegisteredModel) -> bool: ...

    def card(self, model: RegisteredModel) -> str | None: ...


def record(model: RegisteredModel, text: str) -> ModelCard:
    """Return the record of a card with this text."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ModelCard(digest=digest, address=f"{model.address}/{README}", model_version=model.version)


def find_in(registry: Carded, digest: str) -> RegisteredModel | ModelCard | None:
    """Return the version of the model with this digest, preferably the champion, or the champion's card with it."""
    versions = sorted(registry.versions(), key=lambda each: each.state == "champion", reverse=True)
    model = next((each.model for each in versions if each.model.model_digest == digest), None)
    if model:
        return model if registry.has_weights(model) else None
    champion = versions[0].model if versions and versions[0].state == "champion" else None
    text = registry.card(champion) if champion else None
    found = record(champion, text) if champion and text is not None else None
    return found if found and found.digest == digest else None
