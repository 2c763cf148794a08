"""The chat page's states, each reached as a person reaches it, over the conversations of `fill`."""

from collections.abc import Callable

from tests.support.chat_page import ChatPage
from tests.support.chat_texts import EXAMPLES


def conversation(page: ChatPage) -> None:
    page.open("/#/c/stored-000000")
    page.until(lambda: len(page.answers()) == 2)


def dialog(label: str) -> Callable[[ChatPage], None]:
    def opened(page: ChatPage) -> None:
        conversation(page)
        page.button(label)
        page.until(lambda: page.count("dialog[open]"))
        page.until(lambda: page.count(".nearest li, .rating, .segments"))

    return opened


def settings(page: ChatPage) -> None:
    if page.js("return innerWidth") > 832:
        return dialog("Settings")(page)
    conversation(page)
    page.button("Open the list of conversations")
    page.button("Settings")
    page.until(lambda: page.count(".segments"))


def deletion(page: ChatPage) -> None:
    settings(page)
    page.button("Delete all…")
    page.until(lambda: page.count("dialog[open]") == 2)


def comparison(page: ChatPage) -> None:
    page.open()
    page.click("label:has([value=compare])")
    page.ask(EXAMPLES[0])
    page.until(lambda: len(page.answers()) == 2 and not page.count(".stop"))


def failure(page: ChatPage) -> None:
    page.open()
    page.fake.refuse("/messages", 503, "history_unavailable", "The history cannot be reached.")
    page.ask("important")
    page.until(lambda: page.count(".fault"))


STATES: dict[str, Callable[[ChatPage], None]] = {
    "empty": lambda page: page.open(),
    "conversation": conversation,
    "comparison": comparison,
    "failure": failure,
    "feedback": dialog("Bad answer"),
    "why": dialog("Why this answer?"),
    "settings": settings,
    "deletion": deletion,
}
