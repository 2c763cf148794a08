"""No secret in what is told, logged, remembered or raised."""

import json
import logging

import dagster as dg
import pytest

from phi_assets import settings
from phi_assets.cli import main
from phi_assets.defs.operations.alerts import alerts
from phi_assets.notifications.send import outbox_path
from phi_assets.settings import current
from tests.support.toy_checks import Toy
from tests.unit.notifications.conftest import SECRET


@pytest.fixture
def in_force(monkeypatch, watch, webhook):
    """The settings of this process are those of the watch."""

    def choose(**others: str) -> None:
        for name, value in {"PHI_HOME": str(watch.settings.home), "PHI_WEBHOOK": webhook.address, **others}.items():
            monkeypatch.setenv(name, value)
        settings.current.cache_clear()

    choose()
    yield choose
    settings.current.cache_clear()


def test_secrets_in_an_error_are_masked_in_the_message_and_in_the_outbox(
    instance, watch, webhook, in_force, monkeypatch
):
    monkeypatch.setenv("SOME_API_KEY", "of-this-process-only")
    told = (
        f"posted to {webhook.address} and to /services/{SECRET}",
        "Authorization: Bearer abcdefghijklmnop1234",
        "AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0;EndpointSuffix=core.windows.net",
        "https://x.blob.core.windows.net/c?sv=1&sig=abcdefghijklmnop%3D",
        "https://me:hunter22@example.org/x",
        "hf_abcdefghijklmnopqrst",
        "password=correct-horse",
        "of-this-process-only",
    )
    instance_run = Toy(broken=RuntimeError("; ".join(told)))
    instance_run.run(instance, "report")

    watch.tick()

    said = json.dumps(webhook.posted)
    kept = outbox_path(watch.settings).read_bytes().decode(errors="ignore")
    secrets = (
        "verysecretpart",
        "abcdefghijklmnop",
        "c2VjcmV0",
        "hunter22",
        "correct-horse",
        "of-this-process-only",
    )
    assert len(webhook.posted) == 1
    assert [each for each in secrets if each in said or each in kept] == []
    assert "EndpointSuffix=core.windows.net" in said


@pytest.mark.parametrize("answers", [[], [(500, {}, f"cannot POST /services/{SECRET}")]])
def test_the_webhooks_address_is_in_no_log_no_tick_and_no_outbox(
    instance, watch, webhook, in_force, caplog, capfd, answers
):
    caplog.set_level(logging.DEBUG)
    webhook.answers = list(answers)
    Toy(failing={"fresh"}).run(instance, "report")

    with dg.build_sensor_context(instance=instance, cursor=watch.cursor, resources={"settings": current()}) as context:
        skipped = alerts(context)
        cursor = context.cursor

    out, err = capfd.readouterr()
    kept = outbox_path(watch.settings).read_bytes().decode(errors="ignore")
    assert len(webhook.posted) + len(answers) == 1
    assert "verysecretpart" not in "".join((str(skipped), str(cursor), caplog.text, out, err, kept))


def test_the_address_of_a_webhook_that_cannot_be_reached_is_in_no_answer(in_force, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    for address in ("http://127.0.0.1:9/verysecretpart", "https://exa mple.verysecretpart/", "http://[verysecretpart"):
        in_force(PHI_WEBHOOK=address)
        assert main.main(["notify", "--test"]) in (1, 2)

    out, err = capsys.readouterr()
    assert "not reached" in out
    assert "verysecretpart" not in out + err + caplog.text


def test_the_test_message_arrives_and_what_came_back_is_said(in_force, webhook, capsys):
    assert main.main(["notify", "--test"]) == 0

    assert capsys.readouterr().out == "received, in slack's shape: status 200 ok\n"
    assert webhook.titles == ["phi-assets: this is a test"]


def test_a_refused_test_message_is_said_with_what_came_back(in_force, webhook, capsys):
    webhook.answers = [(403, {}, "invalid_token")]

    assert main.main(["notify", "--test"]) == 1

    out = capsys.readouterr().out
    assert "status 403: invalid_token" in out
    assert "PHI_WEBHOOK_FORMAT" in out


def test_without_a_webhook_the_sensor_and_the_command_say_so(in_force, instance, capsys):
    in_force(PHI_WEBHOOK="")
    with dg.build_sensor_context(instance=instance, resources={"settings": current()}) as context:
        assert (
            str(getattr(alerts(context), "skip_message", "")) == "PHI_WEBHOOK is not set: no failure messages are sent"
        )

    assert main.main(["notify", "--test"]) == 2
    assert "PHI_WEBHOOK is not set" in capsys.readouterr().err
