"""`phi down`: stops every process of this PHI_HOME; keeps everything that was made."""

from phi_assets.backends.select import build_resources
from phi_assets.cli.console import say
from phi_assets.errors import BackendError
from phi_assets.instance import server
from phi_assets.settings import Settings


def down(settings: Settings) -> int:
    """Return 0, also when nothing was running; 1 when the endpoint's host could not be reached."""
    # The local processes first: a cloud may be slow or reject the credentials.
    ended = server.stop(settings)
    say("dagster", f"ended: {', '.join(ended)}" if ended else "UI and daemon were not running")
    host = build_resources(settings).get("endpoint_host")  # a backend may have none yet
    try:
        if host:
            host.stop(lambda words: say("endpoint", words))
    except BackendError as e:
        say("endpoint", f"could not be stopped: {e.description or e}")
        return 1
    return 0
