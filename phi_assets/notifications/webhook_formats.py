"""Converts a message to the JSON format of Slack or Teams.

A message quotes texts of users and models: it is plain text in both, never Markdown, a link, a mention or an emoji.

Slack: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks (a header has at most 150 characters, a
section 3,000; `&`, `<` and `>` are escaped, because they begin mentions and links). Teams: an adaptive
card for the webhook of Workflows, at most 28 KB:
https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
"""

from typing import Any, Literal
from urllib.parse import urlsplit

from phi_assets.notifications.messages import Message, cut

Shape = Literal["slack", "teams"]
TEAMS_HOSTS = ("webhook.office.com", "logic.azure.com", "powerplatform.com")
HEADER = 150
SECTION = 3000
TEXT = 4000
CARD_LINE = 600
CARD_CHARACTERS = 4000  # of all reasons: with 4 bytes each, and the rest of the card, below 28 KB
NO_UI = "run {run}; `phi dev` shows it in Dagster's UI"


def shape_of(address: str, chosen: str) -> Shape:
    """Return the chosen format, or that of the address's host; Slack's for an unknown host."""
    if chosen in ("slack", "teams"):
        return "teams" if chosen == "teams" else "slack"
    try:
        host = (urlsplit(address).hostname or "").lower()
    except ValueError:  # not a URL: sending reports it
        host = ""
    return "teams" if any(host == each or host.endswith(f".{each}") for each in TEAMS_HOSTS) else "slack"


def shaped(message: Message, link: str, shape: Shape) -> dict[str, Any]:
    """Return the request body. `link`: the URL of the failed run, empty when no UI is running."""
    return _teams(message, link) if shape == "teams" else _slack(message, link)


def _slack(message: Message, link: str) -> dict[str, Any]:
    why, remedy = "\n".join(f"• {reason}" for reason in message.why), f"What to do: {message.remedy}"
    sections = [_plain(words, SECTION) for words in (why, remedy, "" if link else _without_ui(message)) if words]
    if link:
        sections.append({"type": "mrkdwn", "text": f"<{link}|open it in Dagster>", "verbatim": True})
    return {
        # Shown in notifications, and by clients that show no blocks.
        "text": cut(_escaped("\n".join([message.what, *message.why, remedy])), TEXT),
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "header", "text": _plain(message.what, HEADER)},
            *({"type": "section", "text": words} for words in sections),
        ],
    }


def _plain(words: str, maximum: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": cut(_escaped(words), maximum), "emoji": False}


def _teams(message: Message, link: str) -> dict[str, Any]:
    # Unlike text blocks, text runs are not rendered as Markdown, so that an error message is shown verbatim.
    left = CARD_CHARACTERS
    body: list[dict[str, Any]] = [_block(cut(message.what, HEADER), weight="Bolder", size="Medium")]
    for line in message.why:
        words = cut(line, max(1, min(CARD_LINE, left)))
        left -= len(words)
        if left > 0:
            body.append(_block(words))
    body.append(_block(cut(f"What to do: {message.remedy}", CARD_LINE)))
    if not link and message.run:
        body.append(_block(_without_ui(message), isSubtle=True))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": "Open it in Dagster", "url": link}] if link else [],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _block(words: str, **look: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": words, **look}]}


def _without_ui(message: Message) -> str:
    return NO_UI.format(run=message.run) if message.run else ""


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
