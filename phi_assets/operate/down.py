"""`phi down`: everything that runs for this home ended; everything that was made kept."""

from phi_assets.backends import build_resources
from phi_assets.operate import interface
from phi_assets.operate.screen import say
from phi_assets.settings import Settings


def down(settings: Settings) -> int:
    """0, also when nothing ran."""
    host = build_resources(settings).get("endpoint_host")  # a backend may have none yet
    if host:
        host.stop(lambda words: say("endpoint", words))
    say("dagster", "UI and daemon stopped" if interface.stop(settings) else "UI and daemon were not running")
    return 0
