"""Feedback on an answer, and where an answer comes from."""

import pytest

from tests.support.chat_page import ChatPage

pytestmark = [pytest.mark.browser, pytest.mark.integration]


@pytest.fixture
def answered(page: ChatPage) -> ChatPage:
    stored = page.fake.add("Plans", [("Which plan?", "Business.")])
    page.open(f"/#/c/{stored}")
    page.wait_for_answers("Business.")
    return page


def stored(page: ChatPage) -> dict | None:
    found = page.fake.all_messages()[1]["feedback"]
    return found and {name: found[name] for name in ("value", "comment", "correction", "consent")}


def test_a_rating_is_stored_at_once_without_consent(answered: ChatPage):
    answered.button("Bad answer")
    answered.until(lambda: "Your rating is stored." in answered.text())
    assert stored(answered) == {"value": "down", "comment": "", "correction": "", "consent": False}
    assert answered.js("return document.querySelector('.consent input').checked") is False

    fields = answered.browser.find_elements("css selector", ".dialog textarea")
    fields[0].send_keys("wrong plan")
    fields[1].send_keys("Enterprise.")
    answered.button("Save")
    answered.until(lambda: not answered.count("dialog"))
    assert stored(answered) == {"value": "down", "comment": "wrong plan", "correction": "Enterprise.", "consent": False}
    assert answered.count("[aria-label='Bad answer'][aria-pressed=true]") == 1


def test_consent_is_given_by_a_tick_and_ends_with_another_rating(answered: ChatPage):
    answered.button("Good answer")
    answered.until(lambda: stored(answered))
    answered.click(".consent")
    answered.button("Save")
    answered.until(lambda: not answered.count("dialog"))
    assert stored(answered) == {"value": "up", "comment": "", "correction": "", "consent": True}

    answered.reload()
    answered.wait_for_answers("Business.")
    answered.button("Good answer")
    answered.until(lambda: answered.count(".consent input"))
    assert answered.js("return document.querySelector('.consent input').checked") is True
    answered.button("Close")
    answered.until(lambda: not answered.count("dialog"))
    answered.button("Bad answer")
    answered.until(lambda: (stored(answered) or {}).get("value") == "down")
    assert stored(answered) == {"value": "down", "comment": "", "correction": "", "consent": False}


def test_feedback_can_be_withdrawn(answered: ChatPage):
    answered.button("Good answer")
    answered.until(lambda: stored(answered))
    answered.button("Withdraw feedback")
    answered.until(lambda: not answered.count("dialog"))
    assert stored(answered) is None
    assert answered.count(".thumb[aria-pressed=true]") == 0


def test_feedback_that_could_not_be_stored_can_be_stored_again(answered: ChatPage):
    answered.fake.refuse("/feedback", 503, "history_unavailable", "The history cannot be reached.")
    answered.button("Good answer")
    answered.until(lambda: "The history cannot be reached." in answered.text())
    assert stored(answered) is None
    answered.button("Try again", ".dialog")
    answered.until(lambda: "Your rating is stored." in answered.text())
    assert stored(answered) == {"value": "up", "comment": "", "correction": "", "consent": False}


def test_where_an_answer_comes_from(answered: ChatPage):
    answered.button("Why this answer?")
    answered.until(lambda: "data/support/conversations.jsonl:12" in answered.text())
    for words in ("91% similar", "78 of 80 questions right", "sha256:9b77d2c41a05"):
        assert words in answered.text()
    answered.press("ESCAPE")
    answered.until(lambda: not answered.count("dialog"))
    assert answered.focused() == "Why this answer?"


def test_without_lineage_there_is_no_such_button(page: ChatPage):
    page.fake.me["lineage"] = False
    page.open()
    page.ask("first")
    page.wait_for_answers("You asked: first")
    assert page.count("[aria-label='Why this answer?']") == 0


def test_an_answer_and_its_code_can_be_copied(page: ChatPage):
    page.browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    answer = "Run **this**:\n\n```sh\nmake run\n```"
    stored = page.fake.add("Copy", [("How?", answer)])
    page.open(f"/#/c/{stored}")
    page.wait_for_answers("Run this")
    page.button("Copy the answer")
    page.until(lambda: _clipboard(page) == answer)
    page.button("Copy the code")
    page.until(lambda: _clipboard(page) == "make run")


def _clipboard(page: ChatPage) -> str:
    return page.browser.execute_async_script("navigator.clipboard.readText().then(arguments[0], arguments[0])")
