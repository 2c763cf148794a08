"""Deleting one resource, and waiting until it is gone: asked again while Azure says that it is busy."""

from collections.abc import Callable
from functools import partial
from typing import Any

from phi_assets.backends.azure.client.azure_errors import code_of, is_busy, refused, status_of
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import with_patience
from phi_assets.backends.azure.client.waiting import Waiting
from phi_assets.backends.azure.infrastructure import live_state
from phi_assets.ports.base import Log

MINUTES = 60.0
FIRST_POLL, LONGEST_POLL = 1.0, 5.0
NEVER_WAS = "MissingSubscriptionRegistration"  # a subscription that has never had anything of the kind


def delete(
    of: AzureClients, address: str, version: str, log: Log, query: str = "", *, even_if_gone: bool = False
) -> None:
    """There is no resource of this id. Asking again for what is going, or gone, changes nothing.

    `even_if_gone` asks also when Azure shows none: of a deleted workspace it keeps the name until it is asked to purge.
    Raises GaveUp, with Azure's last refusal, when it is still there after MINUTES.
    """
    from azure.core.exceptions import HttpResponseError

    name = address.rpartition("/")[2]
    standing = live_state.get_or_none(of, address, version) is not None
    if not standing and not even_if_gone:
        return
    log(f"deleting {name}" if standing else f"ending the deleted {name} for good, if Azure keeps one")
    wish = partial(of.send, "DELETE", f"{address}?api-version={version}{f'&{query}' if query else ''}")
    waiting = Waiting(f"deleting {name}", log, MINUTES, FIRST_POLL, LONGEST_POLL)
    asked, doing = False, "it is still there"
    try:
        while True:
            if not asked:
                refusal = ask(f"deleting {name}", wish, log)
                asked = not refusal
                if refusal:
                    doing = refusal
                    waiting.say(f"{refusal}; asking again until it has settled")
            found = live_state.get_or_none(of, address, version)
            if found is None and asked:
                return
            state = str(live_state.properties(found).get("provisioningState") or "") if found else ""
            asked = asked and state != "Failed"
            waiting.pause(doing, "see the portal, and run again")
    except HttpResponseError as e:
        raise refused(f"deleting {name}", e) from e


def ask(what: str, wish: Callable[[], Any], log: Log) -> str:
    """Azure's refusal while the resource is busy; empty when it took the wish. Raises HttpResponseError."""
    from azure.core.exceptions import HttpResponseError

    try:
        with_patience(what, wish, log)
    except HttpResponseError as e:
        if status_of(e) == 404 or code_of(e) == NEVER_WAS:
            return ""
        if is_busy(e):
            return str(refused(what, e).description)
        raise
    return ""
