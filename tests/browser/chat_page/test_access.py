"""Everybody can use it: keyboard, screen reader, languages, small and zoomed pages, light and dark."""

import json
from itertools import pairwise

import pytest

from tests.support.chat_api_fake import PAGE, Script, fill
from tests.support.chat_page import ChatPage
from tests.support.chat_states import STATES, conversation
from tests.support.chat_texts import ARABIC_QUESTION, KOREAN_QUESTION

pytestmark = [pytest.mark.browser, pytest.mark.integration]


@pytest.mark.parametrize("state", ["empty", "conversation", "comparison", "feedback"])
def test_at_200_percent_nothing_scrolls_sideways(page: ChatPage, state: str):
    fill(page.fake)
    page.size(640, 430, scale=2)
    STATES[state](page)
    assert page.scrolls_sideways() == []
    assert page.find("dialog .consent, #message").is_displayed()


def test_the_page_can_be_used_by_keyboard_alone(page: ChatPage):
    fill(page.fake)
    page.open()
    passed = []
    for _ in range(40):
        page.press_backwards()
        passed.append(page.focused())
        assert page.js("return document.activeElement.matches(':focus-visible')")
        if passed[-1] == "Skip to the conversation":
            break
    expected = {
        "Settings",
        "New chat",
        "Search conversations",
        "Which plan includes single sign-on?",
        "Appearance: Dark",
    }
    assert expected < set(passed)

    page.press("ENTER")
    assert page.focused() == "message"
    page.fake.scripts.append(Script("one two three four five six", hold=True))
    page.write("first line\nsecond line")
    page.press("ENTER")
    page.until(page.answers)
    assert page.fake.all_messages()[-2]["content"] == "first line\nsecond line"
    page.press("ESCAPE")
    page.until(lambda: "Stopped." in page.text())
    assert page.focused() == "message"


def test_a_dialog_keeps_the_focus_and_gives_it_back(page: ChatPage):
    fill(page.fake)
    conversation(page)
    page.js("[...document.querySelectorAll('[aria-label=\"Good answer\"]')].at(-1).focus()")
    page.press("ENTER")
    page.until(lambda: page.count("dialog[open]"))
    for _ in range(9):
        page.press("TAB")
        assert page.js("const at = document.activeElement; return at === document.body || !!at.closest('dialog')")
    page.press("ESCAPE")
    page.until(lambda: not page.count("dialog"))
    assert page.focused() == "Good answer"


def test_escape_ends_an_edit(page: ChatPage):
    page.open()
    page.ask("first")
    page.wait_for_answers("You asked: first")
    page.button("Edit")
    page.until(lambda: page.focused() == "Edit your message")
    page.press("ESCAPE")
    page.until(lambda: page.questions() == ["first"] and page.focused() == "Edit")


def test_escape_closes_a_dialog_and_does_not_stop_an_answer(page: ChatPage):
    page.open()
    page.fake.scripts.append(Script("one two three four five six", hold=True))
    page.ask("count")
    page.until(page.answers)
    page.button("Settings")
    page.until(lambda: page.count("dialog[open]"))
    page.press("ESCAPE")
    page.until(lambda: not page.count("dialog"))
    page.fake.release()
    page.wait_for_answers("one two three four five six")


def test_the_focus_stays_with_the_versions(page: ChatPage):
    page.open()
    page.fake.scripts += [Script("one answer"), Script("another answer")]
    page.ask("first")
    page.wait_for_answers("one answer")
    page.button("Answer again")
    page.wait_for_answers("another answer")
    page.button("Previous version")
    page.wait_for_answers("one answer")
    page.until(lambda: page.focused() == "Next version")
    page.press("ENTER")
    page.wait_for_answers("another answer")
    page.until(lambda: page.focused() == "Previous version")


def test_a_screen_reader_hears_the_beginning_and_the_finished_answer(page: ChatPage):
    page.open()
    page.js(
        """window.heard = [];
        const said = [...document.querySelectorAll('[role=status][aria-live=polite]')].at(-1);
        const all = {childList: true, characterData: true, subtree: true};
        new MutationObserver(() => heard.push(said.innerText)).observe(said, all);"""
    )
    page.fake.scripts.append(Script("one two three four five six", pause=0.05))
    page.ask("count")
    page.wait_for_answers("one two three four five six")
    page.until(lambda: len(page.js("return heard")) == 2)
    assert page.js("return heard") == ["Answering.", "Answer: one two three four five six"]


def test_headings_go_down_one_level_at_a_time(page: ChatPage):
    stored = page.fake.add("Headings", [("?", "### deep\n\n# top\n\n#### deeper\n\ntext")])
    page.open(f"/#/c/{stored}")
    page.until(page.answers)
    levels = page.js(
        "return [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(each => Number(each.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_dark_and_light_follow_the_system_until_one_is_chosen(page: ChatPage):
    page.open()
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.js(ground)
    page.colours("dark")
    dark = page.js(ground)
    assert dark != light
    page.button("Appearance: Light")
    assert page.js(ground) == light
    page.reload()
    assert page.js(ground) == light


def test_korean_is_chosen_by_the_browser_or_by_hand(page: ChatPage):
    page.fake.add(KOREAN_QUESTION, [(KOREAN_QUESTION, "네.")])
    page.open()
    page.button("Settings")
    page.find(".dialog select").send_keys("한국어")
    page.until(lambda: "화면 모드" in page.text())
    assert page.js("return [document.documentElement.lang, document.documentElement.dir]") == ["ko", "ltr"]
    page.reload()
    page.ask(KOREAN_QUESTION)
    page.wait_for_answers("비밀번호는 다음과 같이")
    assert "AI가 작성한 답변은 틀릴 수 있습니다" in page.text()
    page.fake.refuse("/messages", 429, "busy", "Another answer is being written.", 3)
    page.ask("하나 더")
    page.until(lambda: "모델이 다른 답변을 작성하고 있습니다. 3초 뒤에 다시 시도하세요." in page.text())


def test_each_language_has_every_text_with_the_same_values():
    names = json.loads((PAGE / "locales" / "index.json").read_text(encoding="utf-8"))
    texts = {
        name: json.loads((PAGE / "locales" / f"{name}.json").read_text(encoding="utf-8"))["texts"] for name in names
    }
    for name in names:
        assert texts[name].keys() == texts["en"].keys()
        for key, text in texts[name].items():
            assert text.strip(), key
            assert sorted(_values(text)) == sorted(_values(texts["en"][key])), key


def _values(text: str) -> list[str]:
    return [part.split("}")[0] for part in text.split("{")[1:]]


def test_a_right_to_left_language_mirrors_the_page(page: ChatPage):
    page.fake.add(ARABIC_QUESTION, [(ARABIC_QUESTION, "نعم.")])
    page.open()
    page.button("Settings")
    page.find(".dialog select").send_keys("العربية")
    page.until(lambda: "محادثة جديدة" in page.text())
    page.press("ESCAPE")
    page.until(lambda: not page.count("dialog"))
    side, main = page.js(
        "return ['.side', 'main'].map(each => document.querySelector(each).getBoundingClientRect().left)"
    )
    assert side > main
    assert page.scrolls_sideways() == []
    page.ask("first")
    page.wait_for_answers("You asked: first")
    bubble = page.js(
        "const {left, right} = document.querySelector('.bubble').getBoundingClientRect(); return [left, right]"
    )
    assert bubble[0] < 300


def test_each_text_has_its_own_direction(page: ChatPage):
    page.open()
    page.ask(ARABIC_QUESTION)
    page.until(lambda: page.count(".served"))
    directions = """return ['.bubble', '.markdown p', '.head h2'].map(
        each => getComputedStyle(document.querySelector(each)).direction)"""
    assert page.js(directions) == ["rtl", "rtl", "rtl"]


def test_on_a_phone_the_list_is_a_drawer(page: ChatPage):
    fill(page.fake)
    page.size(360, 740)
    page.open()
    assert page.count(".row") == 0
    page.button("Open the list of conversations")
    page.until(lambda: page.count(".drawer .row") == 6)
    page.button("Which plan includes single sign-on?", ".drawer")
    page.until(lambda: len(page.answers()) == 2 and not page.count(".drawer"))
    assert page.scrolls_sideways() == []


def test_nothing_moves_for_who_prefers_less_motion(page: ChatPage):
    page.open()
    page.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    )
    page.fake.scripts.append(Script("one two three", hold=True))
    page.ask("count")
    page.until(lambda: page.count(".dot"))
    assert page.js("return getComputedStyle(document.querySelector('.dot')).animationName") == "none"
