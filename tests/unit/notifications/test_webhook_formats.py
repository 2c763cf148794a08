import json

import pytest

from phi_assets.notifications.messages import Message, clean
from phi_assets.notifications.webhook_formats import shape_of, shaped
from tests.support.hostile_markdown import ALL
from tests.support.hostile_texts import dangerous

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
    assert header["text"] == {"type": "plain_text", "text": "data: blocking check failed", "emoji": False}
    assert {each["type"] for each in sections} == {"section"}
    assert [each["text"]["text"] for each in sections] == [
        "• clean: 3 &lt; 5 &amp; *no* more",
        "What to do: mend the file",
        f"<{LINK}|open it in Dagster>",
    ]


@pytest.mark.parametrize("kind", ALL)
def test_slack_shows_what_users_wrote_as_plain_text_that_mentions_and_links_nothing(kind):
    body = shaped(quoting(ALL[kind]), LINK, "slack")

    texts = [block["text"] for block in body["blocks"]]
    assert [text["type"] for text in texts] == ["plain_text"] * (len(texts) - 1) + ["mrkdwn"]
    assert [text["emoji"] for text in texts[:-1]] == [False] * (len(texts) - 1)
    assert texts[-1]["text"] == f"<{LINK}|open it in Dagster>"
    assert not [each for each in (body["text"], *(text["text"] for text in texts[:-1])) if "<" in each or ">" in each]
    assert (body["mrkdwn"], body["unfurl_links"], body["unfurl_media"]) == (False, False, False)
    assert dangerous(json.dumps(body, ensure_ascii=False)) == ""


@pytest.mark.parametrize("kind", ALL)
def test_teams_shows_what_users_wrote_in_text_runs_which_know_no_markdown(kind):
    card = shaped(quoting(ALL[kind]), LINK, "teams")["attachments"][0]["content"]

    assert {each["type"] for each in card["body"]} == {"RichTextBlock"}
    assert {run["type"] for each in card["body"] for run in each["inlines"]} == {"TextRun"}
    assert {key for each in card["body"] for run in each["inlines"] for key in run} <= {
        "type",
        "text",
        "weight",
        "size",
        "isSubtle",
    }
    assert [action["url"] for action in card["actions"]] == [LINK]
    assert dangerous(json.dumps(card, ensure_ascii=False)) == ""


def test_a_slack_mention_is_shown_as_it_was_written():
    body = shaped(quoting("<!channel> <@U1> <http://evil.example|x> @here :smile: *b*"), LINK, "slack")

    assert (
        body["blocks"][1]["text"]["text"]
        == "• &lt;!channel&gt; &lt;@U1&gt; &lt;http://evil.example|x&gt; @here :smile: *b*"
    )


def quoting(words: str) -> Message:
    return Message(clean(words), (clean(words),), clean(words), "run-1", "retrain")


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
