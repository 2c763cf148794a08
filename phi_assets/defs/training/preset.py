"""One value of the preset in force, for a check; training reads the whole of it itself."""

from pathlib import Path
from typing import Any

from phi_assets.settings import PRESETS, Settings


def preset_file(settings: Settings) -> Path:
    """The YAML file that PHI_PRESET names."""
    path = Path(settings.preset)
    return path if path.is_absolute() else PRESETS / f"{settings.preset}.yaml"


def preset_value(settings: Settings, name: str) -> Any:
    """Raises KeyError when the preset does not say it."""
    import yaml

    return yaml.safe_load(preset_file(settings).read_text(encoding="utf-8"))[name]
