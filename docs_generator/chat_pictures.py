"""Takes the chat page's screenshots of the documentation, over scripted answers.

`python -m docs_generator.chat_pictures`. Needs Debian's chromium and chromium-driver, fonts-nanum for a
Korean title, and no model.
"""

import tempfile
import time
from pathlib import Path

from docs_generator.pictures import PICTURES
from tests.support.chat_api_fake import chat_api_fake, fill
from tests.support.chat_page import ChatPage
from tests.support.chromium import chromium

SETTLE_SECONDS = 0.5
LONG, SHORT = "/#/c/stored-000000", "/#/c/stored-000001"


def save(page: ChatPage, name: str) -> None:
    time.sleep(SETTLE_SECONDS)
    page.browser.save_screenshot(str(PICTURES / name))


def take(page: ChatPage) -> None:
    """Save an answered conversation, the feedback dialog in the dark theme, and the page on a phone."""
    page.size(1280, 960)
    page.colours("light")
    page.open(LONG)
    page.until(lambda: len(page.answers()) == 2)
    page.js("document.activeElement.blur()")
    save(page, "chat_page.png")

    page.colours("dark")
    page.button("Bad answer")
    correction = page.until(lambda: page.browser.find_elements("css selector", ".dialog textarea"))[1]
    correction.send_keys("Yes: a yearly plan within 30 days, and a monthly plan within 14 days of the first payment.")
    page.js("document.activeElement.blur()")
    save(page, "chat_feedback.png")

    page.colours("light")
    page.size(390, 800, scale=2)
    page.open(SHORT)
    page.until(page.answers)
    page.js("document.activeElement.blur()")
    save(page, "chat_phone.png")


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, chat_api_fake() as fake, chromium(Path(profile)) as browser:
        browser.implicitly_wait(0)
        fill(fake)
        take(ChatPage(browser, fake))
