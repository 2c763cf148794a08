import json

import pytest

from phi_assets.notifications.messages import Message
from phi_assets.notifications.webhook_formats import shape_of, shaped

MESSAGE = Message("data: blocking check failed", ("clean: 3 < 5 & *no* more",), "mend the file", "run-1", "retrain")
LINK = "http://127.0.0.1:3000/runs/run-1"
LONG = Message("w" * 500, ("🙂" * 600,) * 13, "🙂" * 2000, "run-1", "retrain")


@pytest.mark.parametrize(
    ("address", "shape"),
    [
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://contoso.webhook.office.com/webhookb2/x", "teams"),
        ("https://prod-23.westeurope.logic.azure.com:443/workflows/x/triggers/manual/paths/invoke?sig=x", "teams"),
        ("https://default0.00.environment.api.powerplatform.com:443/powerautomate/x", "teams"),
        ("https://logic.azure.com.example.org/x", "slack"),
        ("https://mattermost.example.org/hooks/x", "slack"),
    ],
)
def test_the_shape_is_what_the_addresss_host_understands(address, shape):
    assert shape_of(address, "auto") == shape
    assert shape_of(address, "teams") == "teams"
    assert shape_of(address, "slack") == "slack"


def test_slack_gets_a_text_and_blocks_with_the_link():
    body = shaped(MESSAGE, LINK, "slack")

    assert body["text"].startswith("data: blocking check failed\n")
    header, *sections = body["blocks"]
    assert header == {"type": "header", "text": {"type": "plain_text", "text": "data: blocking check failed"}}
    assert {each["type"] for each in sections} == {"section"}
    assert [each["text"]["text"] for each in sections] == [
        "• clean: 3 &lt; 5 &amp; *no* more",
        "What to do: mend the file",
        f"<{LINK}|open it in Dagster>",
    ]


def test_teams_gets_an_adaptive_card_with_the_link():
    body = shaped(MESSAGE, LINK, "teams")

    (attachment,) = body["attachments"]
    card = attachment["content"]
    assert body["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.2")
    assert [each["inlines"][0]["text"] for each in card["body"]] == [
        "data: blocking check failed",
        "clean: 3 < 5 & *no* more",
        "What to do: mend the file",
    ]
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open it in Dagster", "url": LINK}]


@pytest.mark.parametrize("shape", ["slack", "teams"])
def test_without_a_running_ui_the_run_is_named_and_how_to_see_it(shape):
    said = json.dumps(shaped(MESSAGE, "", shape), ensure_ascii=False)

    assert "run run-1; `phi dev` shows it in Dagster's UI" in said
    assert "http://127" not in said


def test_the_longest_message_fits_into_what_slack_allows():
    body = shaped(LONG, LINK, "slack")

    assert len(body["text"]) <= 4000
    assert len(body["blocks"][0]["text"]["text"]) == 150
    assert all(0 < len(block["text"]["text"]) <= 3000 for block in body["blocks"])


def test_the_longest_message_fits_into_what_teams_allows():
    assert len(json.dumps(shaped(LONG, LINK, "teams"), ensure_ascii=False).encode()) < 28 * 1024
