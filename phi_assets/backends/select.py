"""Selects the backend; no other module does."""

from importlib.util import find_spec
from typing import Any

from phi_assets.project import INSTALLED
from phi_assets.settings import Settings, SettingsError


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
