"""The list of conversations: pages, search, rename, delete, export."""

import json
import time
from pathlib import Path

import pytest

from tests.support.chat_page import ChatPage

pytestmark = [pytest.mark.browser, pytest.mark.integration]


def titles(page: ChatPage) -> list[str]:
    return page.texts(".row a")


def test_conversations_are_listed_by_the_day_and_in_pages(page: ChatPage):
    for number in range(35):
        page.fake.add(f"Conversation {number}", [("question", "answer")], days=number)
    page.open()
    page.until(lambda: len(titles(page)) == 30)
    assert titles(page)[:2] == ["Conversation 0", "Conversation 1"]
    assert page.texts(".list h3") == ["Today", "Yesterday", "Previous 7 days", "Older"]

    page.button("Show older conversations")
    page.until(lambda: len(titles(page)) == 35)
    assert not page._button("Show older conversations", "")


def test_search_finds_what_was_said(page: ChatPage):
    page.fake.add("Billing", [("Where is my invoice?", "In the archive.")])
    page.fake.add("Plans", [("Which plan?", "Business.")])
    page.open()
    page.until(lambda: len(titles(page)) == 2)
    box = page.find(".search input")
    box.send_keys("archive")
    page.until(lambda: titles(page) == ["Billing"])
    box.send_keys(" of nothing")
    page.until(lambda: "No conversation contains “archive of nothing”." in page.text())
    page.button("Clear the search")
    page.until(lambda: len(titles(page)) == 2)


def test_a_conversation_is_renamed(page: ChatPage):
    stored = page.fake.add("Old title", [("question", "answer")])
    page.open(f"/#/c/{stored}")
    page.hover(".row")
    page.button("Rename “Old title”")
    box = page.find(".dialog input")
    box.clear()
    box.send_keys("New title")
    page.press("ENTER")
    page.until(lambda: titles(page) == ["New title"])
    assert page.fake.conversations[stored]["title"] == "New title"
    assert page.texts(".head h2") == ["New title"]
    page.until(lambda: not page.count("dialog"))


def test_a_rename_that_fails_says_why_and_can_be_tried_again(page: ChatPage):
    page.fake.add("Old title", [("question", "answer")])
    page.open()
    page.hover(".row")
    page.button("Rename “Old title”")
    page.until(lambda: page.js("return document.activeElement.matches('.dialog input')"))
    page.browser.switch_to.active_element.send_keys("New title")
    page.fake.refuse("PATCH", 503, "history_unavailable", "The history cannot be reached.")
    page.press("ENTER")
    page.until(lambda: "The history cannot be reached." in page.text())
    page.press("ENTER")
    page.until(lambda: titles(page) == ["New title"])


def test_a_conversation_is_deleted_after_a_question(page: ChatPage):
    stored = page.fake.add("Private", [("question", "answer")])
    page.open(f"/#/c/{stored}")
    page.wait_for_answers("answer")
    page.hover(".row")
    page.button("Delete “Private”")
    page.until(lambda: "“Private” and its feedback will be deleted." in page.text())
    page.button("Cancel")
    page.until(lambda: not page.count("dialog"))
    assert stored in page.fake.conversations

    page.button("Delete “Private”")
    page.button("Delete", ".dialog")
    page.until(lambda: not titles(page) and not page.count("dialog"))
    assert page.fake.conversations == {}
    assert page.answers() == []


def test_all_conversations_are_deleted_after_a_question(page: ChatPage):
    for number in range(3):
        page.fake.add(f"Conversation {number}", [("question", "answer")])
    page.open()
    page.button("Settings")
    page.button("Delete all…")
    page.until(lambda: "All of your conversations" in page.text())
    assert len(page.fake.conversations) == 3
    page.button("Delete all")
    page.until(lambda: not titles(page))
    assert page.fake.conversations == {}


def test_conversations_are_exported_as_a_file(page: ChatPage, tmp_path: Path):
    page.fake.add("Plans", [("Which plan?", "Business.")])
    page.open()
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    page.button("Settings")
    page.button("Export")
    page.until(lambda: list(tmp_path.glob("*.jsonl")))
    time.sleep(0.1)
    rows = [json.loads(line) for line in (tmp_path / "conversations.jsonl").read_text(encoding="utf-8").splitlines()]
    question, answer = {"role": "user", "content": "Which plan?"}, {"role": "assistant", "content": "Business."}
    assert rows == [{"messages": [question, answer]}]


def test_a_conversation_that_is_gone_leads_to_a_new_one(page: ChatPage):
    page.open("/#/c/deleted-000001")
    page.until(lambda: "This conversation does not exist any more." in page.text())
    page.button("New chat", ".empty")
    page.ask("first")
    page.wait_for_answers("You asked: first")


def test_a_list_and_a_conversation_that_cannot_be_read_can_be_read_again(page: ChatPage):
    stored = page.fake.add("Plans", [("Which plan?", "Business.")])
    page.fake.refuse("GET /api/conversations", 503, "history_unavailable", "The history cannot be reached.")
    page.fake.refuse(f"GET /api/conversations/{stored}", 503, "history_unavailable", "The history cannot be reached.")
    page.open(f"/#/c/{stored}")
    page.until(lambda: page.text().count("The history cannot be reached.") == 2)
    page.button("Try again", ".list")
    page.until(lambda: titles(page) == ["Plans"])
    page.button("Try again", ".empty")
    page.wait_for_answers("Business.")


def test_the_back_button_leads_to_the_conversation_before(page: ChatPage):
    first = page.fake.add("First", [("one", "answer one")])
    page.fake.add("Second", [("two", "answer two")])
    page.open(f"/#/c/{first}")
    page.wait_for_answers("answer one")
    page.button("Second")
    page.wait_for_answers("answer two")
    page.browser.back()
    page.wait_for_answers("answer one")


def test_an_unsent_text_waits_in_its_conversation_and_nowhere_else(page: ChatPage):
    page.fake.add("First", [("one", "answer one")])
    page.fake.add("Second", [("two", "answer two")])
    page.open()
    page.button("First")
    page.wait_for_answers("answer one")
    page.write("half a question")
    page.button("Second")
    page.wait_for_answers("answer two")
    assert page.js("return document.getElementById('message').value") == ""
    page.button("First")
    page.wait_for_answers("answer one")
    assert page.js("return document.getElementById('message').value") == "half a question"
    stored = page.js("return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert "half" not in stored
    assert "question" not in stored
