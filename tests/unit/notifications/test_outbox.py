"""Exactly once: a webhook that is down, processes that are killed, cursors and outboxes that are lost."""

import dagster as dg
import pytest

from phi_assets.notifications import outbox, send
from phi_assets.notifications.outbox import Incident, Outbox
from phi_assets.notifications.send import outbox_path
from tests.unit.notifications.conftest import Watch


class Killed(BaseException):
    """As if the process were gone here: nothing catches it."""


def fail(instance: dg.DagsterInstance, why: str = "its process is gone") -> None:
    @dg.job
    def train() -> None: ...

    run = instance.create_run_for_job(train, status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(run, why)


def killed_at(monkeypatch: pytest.MonkeyPatch, where: object, name: str, *, after: bool) -> None:
    """The next call of this function dies, before or after it has done its work."""
    real = getattr(where, name)

    def dying(*arguments: object, **others: object) -> object:
        monkeypatch.setattr(where, name, real)
        if after:
            real(*arguments, **others)
        raise Killed

    monkeypatch.setattr(where, name, dying)


def test_what_failed_before_the_first_tick_is_not_told_and_what_fails_afterwards_is(instance, watch, webhook, tmp_path):
    fail(instance, "long ago")
    later = Watch(instance, watch.settings.model_copy(update={"home": tmp_path / "another"}))
    later.tick()
    fail(instance, "while nobody looked")

    Watch(instance, later.settings, later.cursor).tick()

    assert len(webhook.posted) == 1
    assert "while nobody looked" in webhook.posted[0]["text"]


@pytest.mark.parametrize("cursor", [None, "0", "nonsense"])
def test_a_lost_or_old_cursor_repeats_nothing(instance, watch, webhook, cursor):
    fail(instance)
    watch.tick()

    Watch(instance, watch.settings, cursor).tick()

    assert len(webhook.posted) == 1


def test_a_process_killed_while_it_judges_has_judged_nothing(instance, watch, webhook, monkeypatch):
    fail(instance)
    killed_at(monkeypatch, send, "judge", after=True)
    with pytest.raises(Killed):
        watch.tick()

    watch.tick()

    assert len(webhook.posted) == 1


def test_a_process_killed_before_it_sent_leaves_it_to_the_next_when_the_claim_runs_out(
    instance, watch, webhook, monkeypatch
):
    fail(instance)
    killed_at(monkeypatch, send, "post", after=False)
    with pytest.raises(Killed):
        watch.tick()
    assert watch.tick() == ["1 waiting to be sent"]

    watch.make_all_due()
    watch.tick()
    watch.tick()

    assert len(webhook.posted) == 1


def test_a_process_killed_between_sending_and_confirming_tells_once_more_and_no_more(
    instance, watch, webhook, monkeypatch
):
    fail(instance)
    killed_at(monkeypatch, send, "post", after=True)
    with pytest.raises(Killed):
        watch.tick()

    for _ in range(3):
        watch.make_all_due()
        watch.tick()

    assert len(webhook.posted) == 2


def test_a_process_killed_after_confirming_tells_no_more(instance, watch, webhook, monkeypatch):
    fail(instance)
    killed_at(monkeypatch, Outbox, "confirm", after=True)
    with pytest.raises(Killed):
        watch.tick()

    watch.make_all_due()
    watch.tick()

    assert len(webhook.posted) == 1


def test_what_a_process_sends_is_not_sent_by_another_meanwhile(instance, watch, webhook, monkeypatch):
    fail(instance)
    real, said = send.post, []

    def slow(*arguments: object) -> object:
        monkeypatch.setattr(send, "post", real)
        said.append(Watch(instance, watch.settings, watch.cursor).tick())
        return real(*arguments)

    monkeypatch.setattr(send, "post", slow)
    watch.tick()

    assert said == [["1 waiting to be sent"]]
    assert len(webhook.posted) == 1


@pytest.mark.parametrize(
    ("answer", "wait"),
    [((503, {}, "later"), 15), ((429, {"retry-after": "90"}, ""), 90), ((404, {}, "no_service"), 15)],
)
def test_what_was_not_received_is_tried_again_after_a_wait(instance, watch, webhook, answer, wait):
    webhook.answers = [answer]
    fail(instance)

    said = watch.tick()

    assert said == [
        f"not received (status {answer[0]}: {answer[2]}); retry in {wait} s",
        "1 waiting to be sent",
    ]
    assert watch.tick() == ["1 waiting to be sent"]
    watch.make_all_due()
    assert watch.tick() == ["sent 1"]
    assert len(webhook.posted) == 1


def test_waits_grow_to_an_hour(watch):
    with watch.outbox() as outbox, outbox.transaction() as transaction:
        transaction.add([Incident("step", "train", "x")], 1, {})
    waits = []
    for _ in range(12):
        watch.make_all_due()
        with watch.outbox() as outbox:
            waits.append(outbox.postpone(outbox.claim()))

    assert waits[:4] == [15, 30, 60, 120]
    assert waits[-1] == 3600


def test_a_message_that_is_never_received_does_not_hold_up_the_others(instance, watch, webhook):
    webhook.answers = [(500, {}, "")]
    for number in range(3):
        fail(instance, f"reason {number}")
    watch.tick()
    assert webhook.posted == []

    watch.tick()

    assert [each["text"].splitlines()[1] for each in webhook.posted] == ["reason 1", "reason 2"]


def test_a_webhook_that_nobody_serves_is_no_error_of_the_tick(instance, watch):
    watch.settings = watch.settings.model_copy(update={"webhook": type(watch.settings.webhook)("http://127.0.0.1:9/x")})
    fail(instance)

    assert watch.tick()[0].startswith("not received (status none: not reached (ConnectError)")


def test_a_tick_sends_a_few_at_a_time_and_the_next_ones_the_rest(instance, watch, webhook):
    for number in range(7):
        fail(instance, f"reason {'x' * number}")

    assert watch.tick() == ["sent 5", "2 waiting to be sent"]
    assert watch.tick() == ["sent 2"]
    assert len(webhook.posted) == 7


@pytest.mark.parametrize("damage", [b"nonsense" * 2000, b""])
def test_a_damaged_outbox_is_put_aside_and_what_was_told_is_not_told_again(instance, watch, webhook, damage):
    fail(instance, "told before")
    watch.tick()
    path = outbox_path(watch.settings)
    path.write_bytes(damage)
    fail(instance, "told after")

    said = watch.tick()

    assert [each["text"].splitlines()[1] for each in webhook.posted] == ["told before", "told after"]
    aside = list(path.parent.glob("notifications.damaged-*"))
    assert [each.read_bytes() for each in aside] == ([damage] if damage else [])
    assert any("the outbox was damaged" in words for words in said) == bool(damage)


def test_what_nobody_had_received_when_the_outbox_was_lost_is_told(instance, watch, webhook):
    webhook.answers = [(503, {}, "")]
    fail(instance)
    watch.tick()
    outbox_path(watch.settings).unlink()

    watch.tick()

    assert len(webhook.posted) == 1


def test_a_new_event_log_under_an_old_outbox_is_read_from_its_end(watch, webhook, tmp_path):
    for number in range(3):
        fail(watch.instance, f"old {number}")
    watch.tick()
    (tmp_path / "new").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "new")) as fresh:
        watch.instance = fresh
        watch.tick()
        fail(fresh, "new")
        watch.tick()

    assert len(webhook.posted) == 4


def test_notifications_received_long_ago_leave_the_file_and_the_others_stay(watch, monkeypatch):
    monkeypatch.setattr(outbox, "MOST_SENT", 3)
    with watch.outbox() as box:
        with box.transaction() as transaction:
            for number in range(10):
                transaction.add([Incident("run", f"{number}", "")], number + 1, {})
        claimed = [box.claim() for _ in range(10)]
        for notification in (claimed[0], *claimed[2:]):
            assert notification
            box.confirm(notification)

        assert [row[0] for row in box._connection.execute("SELECT id FROM notifications")] == [2, 8, 9, 10]
        assert box.unsent() == 1
        assert box.safe_position() <= 1


def test_what_waits_is_found_without_a_look_at_what_was_sent(watch):
    with watch.outbox() as box:
        for query in (
            "SELECT id FROM notifications WHERE told IS NULL AND due <= 1 ORDER BY due, id LIMIT 1",
            "SELECT count(*) FROM notifications WHERE told IS NULL",
            "SELECT min(event) FROM notifications WHERE told IS NULL",
        ):
            plan = " ".join(row[3] for row in box._connection.execute(f"EXPLAIN QUERY PLAN {query}"))
            assert "INDEX unsent" in plan, plan
