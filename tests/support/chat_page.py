"""The chat page in a browser: what a person does with it, and what it shows."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.support.chat_api_fake import PAGE, ChatApiFake

SECONDS = 15
AXE = PAGE.parents[1] / "chat_page" / "node_modules" / "axe-core" / "axe.min.js"


@dataclass(frozen=True)
class ChatPage:
    browser: Any
    fake: ChatApiFake

    def open(self, path: str = "/") -> None:
        """Load the page anew, and wait until it knows the models."""
        self.browser.get("about:blank")
        self.browser.get(self.fake.address + path)
        self.until(lambda: self.count("#message") and self.count(".model-line"))

    def reload(self) -> None:
        self.browser.refresh()
        self.until(lambda: self.count("#message") and self.count(".model-line"))

    def js(self, script: str, *values: Any) -> Any:
        return self.browser.execute_script(script, *values)

    def until(self, condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Poll until the condition holds; return its value. Fails with the page's text after so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(StaleElementReferenceException):
                if found := condition():
                    return found
            time.sleep(0.03)
        raise AssertionError(f"waited {seconds:g} s; the page shows:\n{self.text()}")

    def count(self, selector: str) -> int:
        return self.js("return document.querySelectorAll(arguments[0]).length", selector)

    def texts(self, selector: str) -> list[str]:
        """Return the visible texts of these elements."""
        return self.js("return [...document.querySelectorAll(arguments[0])].map(each => each.innerText)", selector)

    def text(self) -> str:
        return self.js("return document.body.innerText")

    def questions(self) -> list[str]:
        return self.texts(".bubble")

    def answers(self) -> list[str]:
        return self.texts(".markdown")

    def find(self, selector: str) -> Any:
        """Return the first of these elements that is visible, as soon as there is one."""

        def visible() -> Any:
            found = self.browser.find_elements("css selector", selector)
            return next((each for each in found if each.is_displayed()), None)

        return self.until(visible)

    def click(self, selector: str) -> None:
        self.js("arguments[0].scrollIntoView({block: 'nearest'})", self.find(selector))
        self.find(selector).click()

    def button(self, label: str, inside: str = "") -> None:
        """Click a button by its label or its text."""
        self.browser.execute_script("window.scrollTo(0, 0)")
        self.until(lambda: self._button(label, inside)).click()

    def _button(self, label: str, inside: str) -> Any:
        return self.js(
            """const [label, inside] = arguments;
            const name = each => each.getAttribute('aria-label') ?? each.innerText.trim();
            return [...document.querySelectorAll(`${inside} button, ${inside} a`)]
                .filter(each => !each.disabled && name(each) === label && each.checkVisibility()).at(-1)""",
            label,
            inside,
        )

    def write(self, text: str) -> None:
        """Type into the message box; a line end is Shift+Enter."""
        box = self.find("#message")
        for number, line in enumerate(text.split("\n")):
            if number:
                box.send_keys(Keys.SHIFT, Keys.ENTER)
                box.send_keys(Keys.NULL)
            box.send_keys(line)

    def ask(self, text: str) -> None:
        self.write(text)
        self.press("ENTER")

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        ActionChains(self.browser).send_keys(*(getattr(Keys, key) for key in keys)).perform()

    def press_backwards(self) -> None:
        """Press Shift and Tab."""
        ActionChains(self.browser).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()

    def hover(self, selector: str) -> None:
        ActionChains(self.browser).move_to_element(self.find(selector)).perform()

    def focused(self) -> str:
        """Return the name of what has the focus."""
        return self.js(
            """const at = document.activeElement;
            return at.getAttribute('aria-label') || at.id || at.innerText.trim() || at.tagName"""
        )

    def wait_for_answers(self, *texts: str) -> None:
        """Wait until the finished answers begin with these texts."""

        def arrived() -> bool:
            answers = self.answers()
            begins = len(answers) == len(texts) and all(map(str.startswith, answers, texts))
            return begins and not self.count(".stop")

        self.until(arrived)

    def size(self, width: int, height: int, scale: float = 1) -> None:
        """Set the size of the window's content in CSS pixels; a scale of 2 is a page at 200 %."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def colours(self, scheme: str) -> None:
        """Set what the system prefers: `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def errors(self) -> list[str]:
        """Return what the browser reported since the last call, violations of the policy included."""
        return [each["message"] for each in self.browser.get_log("browser") if each["level"] == "SEVERE"]

    def requested(self) -> list[str]:
        """Return the addresses that were requested since the last call."""
        messages = [json.loads(each["message"])["message"] for each in self.browser.get_log("performance")]
        sent = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent]

    def axe(self) -> list[str]:
        """Return axe-core's serious and critical findings: rule and place."""
        self.js(AXE.read_text(encoding="utf-8"))
        found = self.browser.execute_async_script(
            """const done = arguments[0];
            axe.run({resultTypes: ['violations'], preload: false}).then(({violations}) => done(violations.map(
                ({id, impact, nodes}) => [id, impact, nodes.map(node => node.target.join(' ')).join(', ')])))"""
        )
        return [f"{rule}: {places}" for rule, impact, places in found if impact in ("serious", "critical")]

    def scrolls_sideways(self) -> list[str]:
        """Return which parts of the page are wider than their place; code and tables scroll by themselves."""
        return self.js(
            """const parts = document.querySelectorAll('main, .viewport, .side, .list, dialog, .foot');
            return [document.documentElement, ...parts]
                .filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.className || each.tagName)"""
        )
