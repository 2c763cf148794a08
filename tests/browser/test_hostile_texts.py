"""No page of Dagster's UI fetches or links what a user or a model wrote, also after every click on "Show Markdown"."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pytest

from phi_assets.graph.dagster_internals import open_instance
from tests.browser.conftest import end, free_port, start_dagster, wait_until_loaded
from tests.support.chromium import chromium, text_of, wait_for
from tests.support.hostile_markdown import MARKUP
from tests.support.hostile_texts import HOSTILE
from tests.support.reported_texts import report_texts

pytestmark = [pytest.mark.browser, pytest.mark.integration]

TEXTS = [*MARKUP.values(), *(text for text in HOSTILE.values() if len(text) < 1000), "x" * 10_000]
HOLE = "/graphql?query={__typename}&from=the-hole"
ASSETS = (
    "raw_conversations",
    "chat_dataset",
    "base_model",
    "replay_conversations",
    "fine_tuned_model",
    "model_evaluation",
    "model_card",
    "chat_flow_evaluation",
)
PAGES = (
    *(f"/assets/{asset}" for asset in ASSETS),
    *(f"/assets/{asset}?view=events" for asset in ("raw_conversations", "model_evaluation")),
    "/assets/chat_dataset?view=checks&checkDetail=schema",
    "/assets/chat_dataset?view=checks&checkDetail=few_broken_rows",
    "/runs/{run}",
)
QUICK = ("/assets/raw_conversations", "/assets/chat_dataset", "/assets/model_evaluation?view=events")
TARGETS = """
const names = {IMG: 'src', A: 'href', IFRAME: 'src', SCRIPT: 'src', VIDEO: 'src', FORM: 'action', LINK: 'href'};
return [...document.querySelectorAll(Object.keys(names).join(','))]
    .filter(each => !arguments[0] || each.tagName != 'A' || !each.title || each.textContent != each.title)
    .map(each => each.tagName + ' ' + (each.getAttribute(names[each.tagName]) || ''));
"""
SCROLL = """
const places = [...document.querySelectorAll('div')].filter(each => each.scrollHeight > each.clientHeight + 100);
places.forEach(each => each.scrollTop = arguments[0] * each.scrollHeight);
"""
# The log of a run makes a link of each address in it, which shows where it leads, and which only a click follows.
LOG = "/runs/"
MARKS = ("evil.example", "/trap", "graphql?query")
BUTTONS = "//*[self::button or self::a or self::span][normalize-space(text())='[Show Markdown]']"
OF_USERS = ("graphql?query", "evil.example", "127.0.0.1:9/", "javascript:", "IMG loss_curve", "IFRAME")


@dataclass(frozen=True)
class Ui:
    address: str
    run: str


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium"), network=True) as opened:
        opened.implicitly_wait(2)
        yield opened


@pytest.fixture(scope="module")
def ui(tmp_path_factory) -> Iterator[Ui]:
    home = tmp_path_factory.mktemp("home")
    dagster_home = home / "local" / "dagster"
    dagster_home.mkdir(parents=True)
    run = report_texts(dagster_home, tmp_path_factory.mktemp("made"), TEXTS)
    with open_instance(dagster_home) as instance:
        hole = dg.MetadataValue.md(f"![x]({HOLE})" + " " * 2000)
        instance.report_runless_asset_event(dg.AssetMaterialization("hole", metadata={"hole": hole}))
    with serving(home) as address:
        yield Ui(address, run)


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """Serve the UI of this home without the daemon, which would make the graph."""
    port = free_port()
    process = start_dagster(["dagster-webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)], home)
    try:
        wait_until_loaded(process, f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)


@pytest.mark.parametrize(
    "page", [page if page in QUICK else pytest.param(page, marks=pytest.mark.long) for page in PAGES]
)
def test_a_page_with_hostile_texts_requests_and_links_nothing_of_theirs(browser, ui: Ui, page: str):
    browser.get_log("performance")
    browser.get(ui.address + page.format(run=ui.run))
    wait_for(browser, lambda opened: any(mark in text_of(opened) for mark in MARKS) or buttons(opened))

    targets: list[str] = []
    for place in (0, 0.5, 1):  # a log shows only the rows in view
        browser.execute_script(SCROLL, place)
        targets += browser.execute_script(TARGETS, page.startswith(LOG))
        for number in range(len(buttons(browser))):
            show_markdown(browser, number)
            targets += browser.execute_script(TARGETS, page.startswith(LOG))
            close(browser)
        if not page.startswith(LOG):
            break

    assert len(targets) > 10
    assert [each for each in requested(browser) if not of_the_ui(each, ui.address)] == []
    assert [each for each in targets if any(words in each for words in OF_USERS)] == []


def test_an_image_in_markdown_that_is_not_escaped_would_be_seen_by_these_tests(browser, ui: Ui):
    browser.get_log("performance")
    browser.get(f"{ui.address}/assets/hole?view=events")
    wait_for(browser, buttons)
    show_markdown(browser, 0)

    targets = wait_for(
        browser, lambda opened: [each for each in opened.execute_script(TARGETS, False) if "the-hole" in each]
    )
    assert any(words in targets[0] for words in OF_USERS)
    asked = [each for each in requested(browser) if not of_the_ui(each, ui.address)]
    assert asked == [f"GET {ui.address}{escaped(HOLE)}"]


def buttons(browser: Any) -> list[Any]:
    from selenium.webdriver.common.by import By

    return browser.find_elements(By.XPATH, BUTTONS)


def show_markdown(browser: Any, number: int) -> None:
    from selenium.webdriver.common.by import By

    button = wait_for(browser, lambda opened: buttons(opened)[number:])[0]
    browser.execute_script("arguments[0].click()", button)
    wait_for(browser, lambda opened: opened.find_elements(By.CSS_SELECTOR, "[role=dialog] .dagster-markdown"))


def close(browser: Any) -> None:
    from selenium.webdriver.common.by import By

    button = browser.find_element(By.XPATH, "//*[@role='dialog']//button[contains(., 'Close') or contains(., 'Done')]")
    browser.execute_script("arguments[0].click()", button)
    wait_for(browser, lambda opened: not opened.find_elements(By.CSS_SELECTOR, "[role=dialog] .dagster-markdown"))


def requested(browser: Any) -> list[str]:
    """Return method and address of every request since the last call, those of WebSockets too."""
    found = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            request = message["params"]["request"]
            found.append(f"{request['method']} {request['url']}")
        elif message["method"] == "Network.webSocketCreated":
            found.append(f"WS {message['params']['url']}")
    return found


def of_the_ui(request: str, address: str) -> bool:
    method, url = request.split(" ", 1)
    if urlsplit(url).scheme in ("data", "blob", "chrome"):
        return True
    own = urlsplit(url).netloc == urlsplit(address).netloc
    return own and not (method == "GET" and urlsplit(url).path.startswith("/graphql"))


def escaped(path: str) -> str:
    return path.replace("{", "%7B").replace("}", "%7D")
