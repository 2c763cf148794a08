"""The backends: which implementation of each port the assets are handed."""

from typing import Any

from phi_assets.settings import Settings, SettingsError


def build_resources(settings: Settings) -> dict[str, Any]:
    """The chosen backend's resources by the names that assets ask for. Raises SettingsError for one not built yet."""
    if settings.backend == "local":
        from phi_assets.backends.local.resources import local_resources

        return local_resources(settings)
    raise SettingsError(f"PHI_BACKEND={settings.backend}: this version has the local backend only")
