"""`phi down`: stops every process of this PHI_HOME; keeps everything that was made."""

from phi_assets.backends.select import build_resources
from phi_assets.cli.console import say
from phi_assets.cli.parts import Parts
from phi_assets.errors import BackendError
from phi_assets.instance import server
from phi_assets.settings import Settings


def down(settings: Settings) -> int:
    """Return 0, also when nothing was running; 1 when a process could not be stopped or its record not be read.

    What fails for one process does not keep the others running.
    """
    parts = Parts(settings.home)
    # The local processes first: a cloud may be slow or reject the credentials.
    parts.read("dagster", lambda: _stop_dagster(settings), None)
    parts.read("chat", lambda: _stop(settings, "chat_host", "chat", parts), None)
    parts.read("review", lambda: _stop(settings, "feedback_store", "review", parts), None)
    parts.read("endpoint", lambda: _stop(settings, "endpoint_host", "endpoint", parts), None)
    for part, why in parts.faults.items():
        say(part, f"could not be stopped: {why}")
    return 1 if parts.faults else 0


def _stop_dagster(settings: Settings) -> None:
    ended = server.stop(settings)
    say("dagster", f"ended: {', '.join(ended)}" if ended else "UI and daemon were not running")


def _stop(settings: Settings, resource: str, part: str, parts: Parts) -> None:
    host = build_resources(settings).get(resource)  # a backend may have none yet
    try:
        if host:
            host.stop(lambda words: say(part, words))
    except BackendError as e:
        parts.faults[part] = e.description or str(e)
