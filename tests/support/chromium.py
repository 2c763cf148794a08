"""Debian's Chromium, driven by Selenium, and helpers that read a page."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1800,1100",
)


@contextmanager
def chromium(profile: Path, *, network: bool = False) -> Iterator[Any]:
    """Open a browser with its own profile. Skips the test without chromium or chromedriver.

    With `network`, `get_log("performance")` returns its requests.
    """
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    if network:
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    opened.implicitly_wait(30)
    try:
        yield opened
    finally:
        opened.quit()
        opened.service.stop()


def text_of(browser: Any) -> str:
    """Return the text of the page."""
    from selenium.webdriver.common.by import By

    return browser.find_element(By.TAG_NAME, "body").text


def links(browser: Any) -> list[str]:
    """Return the addresses of the page's links."""
    from selenium.webdriver.common.by import By

    return [str(found.get_attribute("href")) for found in browser.find_elements(By.CSS_SELECTOR, "a[href]")]


def wait_for(browser: Any, condition: Callable[[Any], Any], seconds: float = 90) -> Any:
    """Wait until the condition holds for the page; return its value."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    waiting = WebDriverWait(browser, seconds, ignored_exceptions=[StaleElementReferenceException])
    return waiting.until(condition)
