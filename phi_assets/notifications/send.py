"""One tick: read what ended, write down what is new, send what is due. Each in bounds."""

import time
from pathlib import Path

import dagster as dg
from pydantic import SecretStr

from phi_assets.notifications import event_log
from phi_assets.notifications.deduplicate import judge
from phi_assets.notifications.messages import Message
from phi_assets.notifications.outbox import Ledger
from phi_assets.notifications.webhook import post
from phi_assets.notifications.webhook_formats import shape_of, shaped
from phi_assets.settings import Settings

AT_ONCE = 5  # messages a tick: Slack takes one a second, Teams four
TICK_SECONDS = 25.0  # Dagster waits 60 s for a sensor, and one answer may take 10


def ledger_of(settings: Settings) -> Path:
    """Where the ledger of a home is."""
    return settings.state / "notifications.sqlite"


def tell(
    instance: dg.DagsterInstance, settings: Settings, webhook: SecretStr, cursor: str | None
) -> tuple[str, list[str]]:
    """The sensor's next cursor, and what there is to say of this tick.

    The ledger knows the position in the event log. The cursor stands in for it when the ledger is lost, and lies before
    everything that nobody has received yet; without either, it begins with the newest event.
    """
    with Ledger(ledger_of(settings)) as ledger:
        said = [f"the ledger was damaged, and is now {ledger.damaged.name}"] if ledger.damaged else []
        read_on(instance, ledger, cursor)
        said += send_due(ledger, settings, webhook)
        return str(ledger.safe_position()), said


def read_on(instance: dg.DagsterInstance, ledger: Ledger, cursor: str | None) -> None:
    """Judge what ended since the position, and move it, in one transaction."""
    with ledger.page() as page:
        position = page.position
        if position is None:
            position = int(cursor) if cursor and cursor.isdigit() else event_log.newest(instance)
        # An event log that was deleted begins again; what came before is not there to be told.
        position = min(position, event_log.newest(instance))
        news = event_log.since(instance, position)
        for ending in news.endings:
            judge(ending, page)
        page.position = news.position


def send_due(ledger: Ledger, settings: Settings, webhook: SecretStr) -> list[str]:
    """Send what is due, a few at a time. What was not received is tried again later, and does not hold up the rest."""
    told, said, began = 0, list[str](), time.monotonic()
    for _ in range(AT_ONCE):
        untold = ledger.claim() if time.monotonic() - began < TICK_SECONDS else None
        if untold is None:
            break
        message = Message.from_json(untold.message)
        shape = shape_of(webhook.get_secret_value(), settings.webhook_format)
        answer = post(webhook, shaped(message, link_to(settings, message), shape))
        if answer.received:
            ledger.confirm(untold)
            told += 1
            continue
        wait = ledger.put_off(untold, at_least=answer.retry_after)
        said.append(f"not received (status {answer.status or 'none'}: {answer.words}); tried again in {wait:.0f} s")
        if answer.busy:
            break
    waiting = ledger.waiting()
    return [
        *([f"told of {told}"] if told else []),
        *said,
        *([f"{waiting} to be told"] if waiting else []),
    ]


def link_to(settings: Settings, message: Message) -> str:
    """The run's page in the running UI; empty when there is none."""
    from phi_assets.instance import server

    found = server.find(settings)
    if not found:
        return ""
    return f"{found.address}/runs/{message.run}" if message.run else found.address
