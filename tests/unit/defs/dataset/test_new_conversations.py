"""The watch over the inbox: what it reports to Dagster, when it keeps still, and why."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from phi_assets.backends.local.dataset.store import LocalDatasetStore
from phi_assets.conversations.rows import SourceError
from phi_assets.conversations.sources.feeds import Feed, Scan
from phi_assets.graph.staleness import DATA_VERSION, observed
from phi_assets.settings import current
from tests.unit.conversations.sources.test_feeds import lines, put

RAW = dg.AssetKey("raw_conversations")


@dataclass
class Watch:
    """The sensor on a home of its own."""

    instance: dg.DagsterInstance
    store: LocalDatasetStore
    inbox: Path
    cursor: str | None = None

    def tick(self, store: LocalDatasetStore | None = None) -> dg.AssetObservation | str:
        """The observation that the tick made, reported as the daemon does, or why it made none."""
        from phi_assets.defs.dataset.sensors import new_conversations

        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"dataset_store": store or self.store, "settings": current()},
        ) as context:
            result = new_conversations(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        for event in result.asset_events:
            assert isinstance(event, dg.AssetObservation)
            self.instance.report_runless_asset_event(event)
            return event
        assert result.skip_reason
        assert result.skip_reason.skip_message
        return result.skip_reason.skip_message

    def events(self) -> int:
        return len(self.instance.fetch_observations(RAW, limit=100).records)


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    base = put(tmp_path / "base.jsonl", lines(range(30)))
    monkeypatch.setenv("PHI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PHI_DATASET", str(base))
    current.cache_clear()
    inbox = tmp_path / "home" / "inbox"
    inbox.mkdir(parents=True)
    store = LocalDatasetStore(state=str(tmp_path / "home/local"), source=str(base), cleaning={}, inbox=str(inbox))
    with dg.DagsterInstance.ephemeral() as instance:
        watching = Watch(instance, store, inbox)
        assert isinstance(watching.tick(), dg.AssetObservation)  # the first scan
        yield watching
    current.cache_clear()


def test_a_new_file_is_observed_once_with_the_digest_that_a_run_would_observe(watch: Watch):
    put(watch.inbox / "new.jsonl", lines(range(30, 40)))
    event = watch.tick()
    assert isinstance(event, dg.AssetObservation)
    assert event.metadata["new"].value == "new.jsonl"
    assert observed(watch.instance, RAW) == watch.store.source_fingerprint() == event.tags[DATA_VERSION]
    assert "nothing new: 1 in" in str(watch.tick())
    assert watch.events() == 2


@pytest.mark.parametrize("name", ["copy.jsonl", "renamed.jsonl", "half.jsonl", "fresh.jsonl", ".hidden.jsonl"])
def test_what_holds_nothing_new_starts_nothing_and_the_tick_says_why(watch: Watch, name: str):
    first = put(watch.inbox / "first.jsonl", lines(range(30, 40)))
    watch.tick()
    events = watch.events()
    if name == "copy.jsonl":
        put(watch.inbox / name, first.read_bytes())
    elif name == "renamed.jsonl":
        first.rename(watch.inbox / name)
    elif name == "half.jsonl":
        put(watch.inbox / name, lines(range(40, 50))[:-20])
    else:
        put(watch.inbox / name, lines(range(40, 50)), 60 if name.startswith(".") else 0)
    said = str(watch.tick())
    assert said.startswith("nothing new: 1 in")
    assert ("ignored" in said) == (name in ("half.jsonl", "fresh.jsonl"))
    assert watch.events() == events


def test_a_file_that_is_written_again_with_the_same_content_is_no_news_at_any_time(watch: Watch):
    path = put(watch.inbox / "first.jsonl", lines(range(30, 40)))
    watch.tick()
    os.utime(path, (time.time(), time.time()))
    assert "ignored: first.jsonl" in str(watch.tick())
    put(path, path.read_bytes())
    assert "ignored" not in str(watch.tick())
    assert watch.events() == 2


def test_a_file_that_was_taken_out_is_observed(watch: Watch):
    path = put(watch.inbox / "first.jsonl", lines(range(30, 40)))
    watch.tick()
    path.unlink()
    event = watch.tick()
    assert isinstance(event, dg.AssetObservation)
    assert event.metadata["gone"].value == "first.jsonl"


def test_a_lost_cursor_and_a_lost_memory_repeat_nothing(watch: Watch):
    put(watch.inbox / "first.jsonl", lines(range(30, 40)))
    watch.tick()
    watch.cursor = None
    for kept in (current().state / "intake").iterdir():
        kept.write_text("damaged")
    assert "nothing new" in str(watch.tick())
    assert watch.events() == 2


def test_what_a_run_observed_is_not_repeated(watch: Watch):
    put(watch.inbox / "first.jsonl", lines(range(30, 40)))
    digest = watch.store.source_fingerprint()
    watch.instance.report_runless_asset_event(dg.AssetObservation(RAW, tags={DATA_VERSION: digest}))
    assert "nothing new" in str(watch.tick())


class Unreachable:
    title = "a far place"

    def scan(self) -> Scan:
        raise SourceError("no answer")


class WithUnreachable(LocalDatasetStore):
    """The same places, and one that does not answer."""

    def feeds(self, *, patient: bool = True) -> list[Feed]:
        return [*super().feeds(patient=patient), Unreachable()]


class WithFarPlace(LocalDatasetStore):
    """The same places, and the far one, which holds nothing."""

    def feeds(self, *, patient: bool = True) -> list[Feed]:
        class Empty:
            title = "a far place"

            def scan(self) -> Scan:
                return Scan(self.title)

        return [*super().feeds(patient=patient), Empty()]


def test_a_place_that_fails_hides_no_other_once_it_was_seen(watch: Watch):
    fields = {"state": watch.store.state, "source": watch.store.source, "cleaning": {}, "inbox": watch.store.inbox}
    assert "a far place: no answer" in str(watch.tick(WithUnreachable(**fields)))
    watch.tick(WithFarPlace(**fields))
    put(watch.inbox / "first.jsonl", lines(range(30, 40)))
    event = watch.tick(WithUnreachable(**fields))
    assert isinstance(event, dg.AssetObservation)
    assert "a far place: no answer" in str(event.metadata["not_reached"].value)


@pytest.mark.filterwarnings("ignore:.*is currently in beta")
def test_an_observation_makes_the_dataset_due_by_its_data_version(watch: Watch):
    from phi_assets.defs.dataset.assets import raw_conversations

    @dg.asset(
        deps=[raw_conversations],
        automation_condition=dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed()),
    )
    def chat_dataset() -> None: ...

    definitions = dg.Definitions(assets=[chat_dataset, raw_conversations], resources={"dataset_store": watch.store})
    result = dg.evaluate_automation_conditions(definitions, watch.instance)
    watch.tick()
    result = dg.evaluate_automation_conditions(definitions, watch.instance, cursor=result.cursor)
    assert result.total_requested == 0
    put(watch.inbox / "first.jsonl", lines(range(30, 40)))
    watch.tick()
    result = dg.evaluate_automation_conditions(definitions, watch.instance, cursor=result.cursor)
    assert result.total_requested == 1
    put(watch.inbox / "copy.jsonl", lines(range(30, 40)))
    watch.tick()
    result = dg.evaluate_automation_conditions(definitions, watch.instance, cursor=result.cursor)
    assert result.total_requested == 0
