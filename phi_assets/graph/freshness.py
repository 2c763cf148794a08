"""Freshness by content, from the event log and the live endpoint: without new content nothing is stale."""

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import dagster as dg

from phi_assets.conversations.drift import FEWEST_NEW, FEWEST_TRAINED_ON, Drift
from phi_assets.graph.asset_keys import input_tag, key_of
from phi_assets.graph.dagster_internals import last_planned_run
from phi_assets.graph.staleness import DATA_VERSION
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.evaluation import ModelRegistry
from phi_assets.ports.serving import EndpointHost

PAGE = 100
MOST_VERSIONS = 1000  # that are searched for the one that was read; more changes in a row only shorten the wait


def passed_on(instance: dg.DagsterInstance, source: str, reader: str, *, hours: float, remedy: str) -> CheckOutcome:
    """Fail when `source` has had content for more than `hours` that `reader` was not made from."""
    event = instance.get_latest_materialization_event(key_of(reader))
    made = event.asset_materialization if event else None
    if made is None:
        return CheckOutcome(True, f"{reader} was not made yet")
    read = (made.tags or {}).get(input_tag(source), "")
    since = _unread_since(instance, source, read)
    if since is None:
        return CheckOutcome(True, f"{reader} was made from the newest {source}, {read[:12]}", {"hours_waiting": 0.0})
    waited = (time.time() - since) / 3600
    said = f"{source} has other content than the {read[:12]} that {reader} was made from, for {waited:.1f} hours"
    return CheckOutcome(waited <= hours, f"{said}; {remedy}" if waited > hours else said, {"hours_waiting": waited})


def _unread_since(instance: dg.DagsterInstance, source: str, read: str) -> float | None:
    """Return when the first version after the one read arrived; None when the newest is the one read.

    The time of the newest would never be long ago where content arrives every hour.
    """
    since = None
    for version, when in islice(_versions(instance, source), MOST_VERSIONS):
        if version == read:
            break
        since = when
    return since


def _versions(instance: dg.DagsterInstance, asset: str) -> Iterator[tuple[str, float]]:
    """Yield every observed or materialised data version with its time (seconds since 1970), the newest first."""
    key, cursor, more = key_of(asset), None, True
    is_made = instance.get_latest_materialization_event(key) is not None
    fetch = instance.fetch_materializations if is_made else instance.fetch_observations
    while more:
        page = fetch(key, limit=PAGE, cursor=cursor)
        cursor, more = page.cursor, page.has_more
        for record in page.records:
            event: Any = record.asset_materialization or record.event_log_entry.asset_observation
            version = event.tags.get(DATA_VERSION)
            if version:
                yield version, record.timestamp


def champion_serves(
    instance: dg.DagsterInstance, run_id: str, registry: ModelRegistry, endpoint_host: EndpointHost
) -> CheckOutcome:
    """Fail when another version than the champion receives the traffic, unless a run is deploying at the moment."""
    if instance.get_latest_materialization_event(key_of("online_deployment")) is None:
        return CheckOutcome(True, "no deployment yet")
    champion = registry.champion()
    if champion is None:
        return CheckOutcome(True, "there is no champion")
    wanted = f"{champion.name} {champion.version}"
    serves = _serving(endpoint_host)
    numbers = {"serves": serves, "champion": wanted}
    if serves == wanted:
        return CheckOutcome(True, f"{wanted}, the champion, serves", numbers)
    said = f"{serves} serves, and the champion is {wanted}"
    busy = _run_making(instance, "online_deployment", run_id)
    if busy:
        return CheckOutcome(True, f"{said}; run {busy[:8]} is at work on it", numbers)
    return CheckOutcome(False, f"{said}; start job `redeploy`, or `phi run`", numbers)


def _serving(endpoint_host: EndpointHost) -> str:
    """Return name and version of the model with the most traffic."""
    taking = [each for each in endpoint_host.status()["deployments"] if each["traffic"]]
    most = max(taking, key=lambda each: each["traffic"], default=None)
    return f"{most['model_name']} {most['model_version']}" if most else "nothing"


def _run_making(instance: dg.DagsterInstance, asset: str, but: str) -> str:
    """Return the id of an unfinished run, other than `but`, that planned to make the asset; empty without one."""
    planned = last_planned_run(instance, key_of(asset))
    run = instance.get_run_by_id(planned) if planned and planned != but else None
    return planned if run and not run.is_finished else ""


def little_drift(found: Drift | None, *, most: float, by_itself: bool) -> CheckOutcome:
    """Fail when the new conversations differ too much from those trained on, and no training follows.

    `found` is None without the dataset of the last training. `by_itself`: whether so much drift starts a training, so
    that no warning is needed.
    """
    if found is None:
        return CheckOutcome(True, "this home does not have the dataset of the last training to compare with")
    numbers: dict[str, float | int | str] = {"new_conversations": found.new, "trained_on": found.trained_on}
    said = f"{found.new} new conversations since the training on {found.trained_on}"
    if not found.enough:
        few = f"fewer than {FEWEST_NEW} against {FEWEST_TRAINED_ON} say nothing about drift"
        return CheckOutcome(True, f"{said}: {few}" if found.new else said, numbers)
    numbers |= {"drift": found.distance}
    said = f"{said}: drift {found.distance:.2f} of 1"
    if found.distance < most:
        return CheckOutcome(True, f"{said}, below {most:g}", numbers)
    said = f"{said}, at least {most:g} (PHI_RETRAIN_MIN_DRIFT)"
    if by_itself:
        return CheckOutcome(True, f"{said}: sensor `retraining_policy` starts a training", numbers)
    remedy = "read what came in, and train on it (`phi run`, or job `retrain`) if it is what people will ask"
    return CheckOutcome(False, f"{said}; {remedy}", numbers)
