"""One sensor tick: reads the ended runs, stores new notifications, and sends those that are due; each is bounded."""

import time
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from pydantic import SecretStr

from phi_assets.graph.own_runs import LOCATION
from phi_assets.notifications import event_log
from phi_assets.notifications.deduplicate import judge
from phi_assets.notifications.messages import Message
from phi_assets.notifications.outbox import Outbox
from phi_assets.notifications.webhook import post
from phi_assets.notifications.webhook_formats import shape_of, shaped
from phi_assets.settings import Settings

AT_ONCE = 5  # messages per tick: Slack accepts one a second, Teams four
TICK_SECONDS = 25.0  # Dagster's sensor timeout is 60 s, and one POST may take 10


def outbox_path(settings: Settings) -> Path:
    """Return the path of the outbox."""
    return settings.state / "notifications.sqlite"


def tick(
    instance: dg.DagsterInstance,
    settings: Settings,
    webhook: SecretStr,
    cursor: str | None,
    checks: Sequence[dg.AssetCheckKey] = (),
    location: str = LOCATION,
) -> tuple[str, list[str]]:
    """Return the sensor's next cursor, and the lines of this tick's report.

    `checks` are those whose results count that no run made; `location` is the code location whose runs count.

    The outbox stores the position in the event log. The cursor replaces it when the outbox is lost, and lies before
    every notification that is not yet received; without either, reading starts after the newest event.
    """
    with Outbox(outbox_path(settings)) as outbox:
        report = [f"the outbox was damaged, and was moved to {outbox.damaged.name}"] if outbox.damaged else []
        read_on(instance, outbox, cursor, checks, location)
        report += send_due(outbox, settings, webhook)
        return str(outbox.safe_position()), report


def read_on(
    instance: dg.DagsterInstance,
    outbox: Outbox,
    cursor: str | None,
    checks: Sequence[dg.AssetCheckKey],
    location: str,
) -> None:
    """Process the runs that ended since the position, and advance it, in one transaction."""
    with outbox.transaction() as transaction:
        position = transaction.position
        if position is None:
            position = int(cursor) if cursor and cursor.isdigit() else event_log.newest(instance)
        # A deleted event log starts again at zero.
        position = min(position, event_log.newest(instance))
        news = event_log.since(instance, position, location)
        by_hand, transaction.execution = event_log.reported(instance, checks, transaction.execution, news.position)
        for ending in (*news.endings, *by_hand):
            judge(ending, transaction)
        transaction.position = news.position


def send_due(outbox: Outbox, settings: Settings, webhook: SecretStr) -> list[str]:
    """Send the notifications that are due, a few per tick. A failed one is retried later and delays no other."""
    sent, failures, began = 0, list[str](), time.monotonic()
    for _ in range(AT_ONCE):
        notification = outbox.claim() if time.monotonic() - began < TICK_SECONDS else None
        if notification is None:
            break
        message = Message.from_json(notification.message)
        shape = shape_of(webhook.get_secret_value(), settings.webhook_format)
        answer = post(webhook, shaped(message, link_to(settings, message), shape))
        if answer.received:
            outbox.confirm(notification)
            sent += 1
            continue
        wait = outbox.postpone(notification, at_least=answer.retry_after)
        failures.append(f"not received (status {answer.status or 'none'}: {answer.words}); retry in {wait:.0f} s")
        if answer.busy:
            break
    unsent = outbox.unsent()
    return [
        *([f"sent {sent}"] if sent else []),
        *failures,
        *([f"{unsent} waiting to be sent"] if unsent else []),
    ]


def link_to(settings: Settings, message: Message) -> str:
    """Return the URL of the run in Dagster's UI: at PHI_DAGSTER_URL, else here; empty when none is running here."""
    from phi_assets.instance import server

    found = server.find(settings)
    address = settings.dagster_url or (found.address if found else "")
    return f"{address}/runs/{message.run}" if address and message.run else address
