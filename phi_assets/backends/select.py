"""Selects the backend; no other module does."""

from typing import Any

from phi_assets.settings import Settings


def build_resources(settings: Settings) -> dict[str, Any]:
    """The chosen backend's resources by resource name, and the settings themselves as the resource `settings`."""
    if settings.backend == "local":
        from phi_assets.backends.local.resources import local_resources

        return {"settings": settings, **local_resources(settings)}
    from phi_assets.backends.azure.resources import azure_resources

    return {"settings": settings, **azure_resources(settings)}
