"""Selects the backend; no other module does."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from phi_assets.project import INSTALLED
from phi_assets.records import Record
from phi_assets.settings import Settings, SettingsError

if TYPE_CHECKING:
    from phi_assets.ports.chat import SharedAnswers


@dataclass(frozen=True)
class ServedModel:
    """The endpoint as a client of this machine needs it. `address` is None while it does not run.

    `deployment` is the record of `online_deployment`. If the servers do not store their answers (`keeps_answers`),
    the client does, and gives them to `shared_answers`, if any, for other machines.
    """

    deployment: Record | None
    address: str | None
    key: Callable[[], str]
    remedy: str
    keeps_answers: bool
    shared_answers: "SharedAnswers | None" = None


def served_model(settings: Settings) -> ServedModel:
    """What is served now. On a laptop this imports no Dagster. Raises SettingsError, as `build_resources` does."""
    if settings.backend == "local":
        from phi_assets.backends.local.serving.home_endpoint import REMEDY, endpoint_of_home, recorded_deployment

        endpoint = endpoint_of_home(settings.state)
        deployment, keeps = recorded_deployment(settings.state), settings.keep_answers_days > 0
        return ServedModel(deployment, _address(endpoint.status()), endpoint.key, REMEDY, keeps)
    from dagster import AssetKey

    resources = build_resources(settings)
    host = resources["endpoint_host"]
    deployment = resources["io_manager"].latest(AssetKey("online_deployment"))
    address = _address(host.status())
    return ServedModel(deployment, address, host.key, host.remedy, host.keeps_answers, resources.get("shared_answers"))


def _address(status: dict[str, Any]) -> str | None:
    return status["address"] if status["alive"] else None


def build_resources(settings: Settings) -> dict[str, Any]:
    """The chosen backend's resources by resource name, and the settings themselves as the resource `settings`.

    Raises SettingsError when the packages of the Azure backend are not installed.
    """
    if settings.backend == "local":
        from phi_assets.backends.local.resources import local_resources

        return {"settings": settings, **local_resources(settings)}
    if find_spec("dagster_azure") is None:
        command = "pip install 'phi-assets[azure]'" if INSTALLED else "make install, or PHI_BACKEND=azure make run"
        raise SettingsError(f"PHI_BACKEND=azure needs packages that are not installed: {command}")
    from phi_assets.backends.azure.resources import azure_resources

    feedback = {"feedback_store": _feedback_on_azure(settings)} if settings.has_chat else {}
    return {"settings": settings, **azure_resources(settings), **feedback}


def _feedback_on_azure(settings: Settings) -> Any:
    """The one store that has parts of both backends: Azure's ratings, and the review queue of this machine."""
    from phi_assets.backends.azure.client.account import AzureAccount
    from phi_assets.backends.feedback_on_azure import AzureFeedbackStore
    from phi_assets.backends.local.resources import feedback_fields

    account = AzureAccount.of(settings).fields
    return AzureFeedbackStore(**feedback_fields(settings), account=account, role_minutes=settings.azure_role_minutes)
