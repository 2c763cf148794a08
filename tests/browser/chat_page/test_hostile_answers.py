"""What users and models write is text: it is not executed, and nothing is requested for it."""

import pytest

from tests.support.chat_api_fake import Script
from tests.support.chat_page import ChatPage
from tests.support.hostile_texts import HOSTILE as TEXTS

pytestmark = [pytest.mark.browser, pytest.mark.integration]

OWN = ("/", "/app.js", "/style.css", "/icon.svg", "/locales/index.json")


def requested_beyond_the_page(page: ChatPage) -> list[str]:
    own = [page.fake.address + path for path in OWN]
    asked = [each.split("#")[0] for each in page.requested() if each != "about:blank"]
    return [each for each in asked if not each.startswith(page.fake.address + "/api/") and each not in own]


def test_a_hostile_answer_is_neither_executed_nor_fetched(page: ChatPage):
    page.open()
    page.requested()
    page.ask("hostile")
    page.until(lambda: "/trap/code" in page.text() and not page.count(".stop"))
    page.reload()
    page.until(lambda: "/trap/code" in page.text())

    shown = page.answers()[0]
    for text in (
        "<script>window.hacked = 1</script>",
        "![picture](/trap/markdown-image)",
        "<iframe",
        "<svg onload",
        "<b onmouseover",
    ):
        assert text in shown
    assert page.js("return window.hacked") is None
    assert page.count(".markdown :is(img, script, iframe, svg:not(.code-head svg), object, form, style)") == 0
    assert requested_beyond_the_page(page) == []
    assert not [each for each in page.fake.requests if "/trap" in each]
    assert page.errors() == []


def test_only_web_addresses_are_links_and_each_shows_where_it_leads(page: ChatPage):
    page.open()
    page.ask("hostile")
    page.until(lambda: "/trap/code" in page.text() and not page.count(".stop"))
    links = page.js(
        """return [...document.querySelectorAll('.markdown a')].map(
            each => [each.getAttribute('href'), each.innerText, each.rel])"""
    )
    assert [target for target, _, _ in links] == ["https://evil.example/login", "https://example.com/[U+202E]gpj.exe"]
    assert links[0][1] == "the bank (https://evil.example/login)"
    assert all(relation == "noopener noreferrer nofollow" for _, _, relation in links)
    assert "click (javascript:window.hacked=3)" in page.answers()[0]
    assert "relative (/trap/relative)" in page.answers()[0]


def test_a_users_markup_is_text_everywhere(page: ChatPage):
    page.open()
    text = "<img src=/trap/user onerror=window.hacked=7> **not bold** \u202eevil"
    page.fake.scripts.append(Script(text))
    page.write(text)
    page.press("ENTER")
    page.until(lambda: page.count(".served"))
    shown = text.replace("\u202e", "[U+202E]")
    assert page.questions() == [shown]
    assert page.texts(".head h2") == [shown[: len(page.texts(".head h2")[0])]]
    assert page.count(".bubble *") == 0
    page.reload()
    page.until(lambda: page.count(".served"))
    assert page.js("return window.hacked") is None
    assert not [each for each in page.fake.requests if "/trap" in each]


def test_hostile_texts_are_shown_and_break_nothing(page: ChatPage):
    texts = [text[:2000] for text in TEXTS.values()]
    stored = page.fake.add("\n".join(texts)[:200], [(text, text) for text in texts])
    page.requested()
    page.open(f"/#/c/{stored}")
    page.until(lambda: len(page.questions()) == len(texts))
    assert requested_beyond_the_page(page) == []
    assert page.errors() == []
    page.ask("still usable")
    page.until(lambda: page.answers() and page.answers()[-1] == "You asked: still usable")


def test_the_policy_allows_nothing_but_the_page_itself(page: ChatPage):
    page.open()
    page.js(
        """const script = document.createElement('script');
        script.text = 'window.hacked = 8';
        document.body.append(script)"""
    )
    page.js("setTimeout('window.hacked = 9')")
    page.js("const image = new Image(); image.src = 'https://evil.example/x.png'; document.body.append(image)")
    broken: list[str] = []

    def reported() -> bool:
        broken.extend(each for each in page.errors() if "Content Security Policy" in each)
        return len(broken) >= 3

    page.until(reported)
    assert page.js("return window.hacked") is None


@pytest.mark.parametrize("text", [">" * 10_000 + " deep", "[a](b" * 3_000])
def test_markdown_that_is_too_deep_to_draw_is_shown_as_text(page: ChatPage, text: str):
    stored = page.fake.add("Deep", [("?", text)])
    page.open(f"/#/c/{stored}")
    page.until(page.answers)
    assert text in page.answers()[0]
    page.ask("still usable")
    page.until(lambda: page.answers()[-1] == "You asked: still usable")
