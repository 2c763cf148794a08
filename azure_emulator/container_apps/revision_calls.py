"""The actions on a revision of a container app."""

from azure_emulator.container_apps.resources import APP
from azure_emulator.messages import Answer, Call, not_found
from azure_emulator.resource_manager import put_resource
from azure_emulator.state import EmulatorState


def _change(emulator: EmulatorState, call: Call, id: str, action: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{APP}/revisions/{action}/action", id)
    revision = emulator.resources.find(id)
    if revision is None:
        raise not_found(id)
    if action == "deactivate":
        emulator.container_apps.stop(id)
        revision.properties.update(active=False, runningState="Stopped")
    return Answer()


ROUTES = (("POST", f"(?P<id>.*/{APP}/[^/]+/revisions/[^/]+)/(?P<action>deactivate|restart)", _change),)
