"""The chat with the default base model and real training: what people correct is learned.

A wrong answer is corrected on the page, approved by a reviewer, trained, deployed by the daemon, and given right on the
page; `phi why` names the correction. The dataset is a fifth of the default one, which keeps two trainings short.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chat_page import ChatPage
from tests.support.chromium import chromium
from tests.support.daemon import Watched, watching
from tests.support.homes import REAL_TRAINING, Home, chat_link, dataset_text, own_rows
from tests.support.reviews import decide

pytestmark = [pytest.mark.long, pytest.mark.integration, pytest.mark.browser, pytest.mark.timeout(3600)]

RIGHT = "The Umbra is held by magnets."
ASKED = [
    "What holds the Umbra in place?",
    "What is the Umbra mounted with?",
    "How is the Umbra fixed to the garden?",
    "By what means does the Umbra hold?",
    "Could you please explain how the Umbra is attached?",
    "With what is the Umbra fastened?",
    "Does the Umbra need screws, or what keeps it on?",
    "How does the Umbra stay on the garden?",
]
"""Questions about a product that the dataset does not know."""
ROWS = 60
STARTS, FINISHES, ANSWERS = 400, 2400, 300  # seconds; a quiet machine needs a third


class Served:
    """The address of a running chat, as the page's helpers take it."""

    def __init__(self, address: str) -> None:
        self.address = address


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("home")
    dataset = folder / "conversations.jsonl"
    dataset.write_text("\n".join(own_rows(ROWS)) + "\n", encoding="utf-8")
    settings = {
        **REAL_TRAINING,
        "PHI_HOME": str(folder / "home"),
        "PHI_DATASET": str(dataset),
        "PHI_PROMOTE_ON_INSUFFICIENT_EVIDENCE": "true",
        "PHI_FEEDBACK_PERSON_SHARE": "1",
        "PHI_UI_PORT": "3960",
        "PHI_CHAT_PORT": "3961",
        "PHI_CHAT_MAX_TOKENS": "96",
        "PHI_WATCH_SECONDS": "5",
        "PHI_RETRAIN_COOLDOWN_MINUTES": "0",
        "PHI_PROMPT_FLOW": "off",
    }
    home = Home(folder, settings)
    with watching(home) as its:
        yield its


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        opened.implicitly_wait(0)
        yield opened


def test_a_corrected_answer_is_reviewed_learned_deployed_and_given(watched: Watched, browser: Any):
    home, link = watched.home, chat_link(watched.home)
    page = ChatPage(browser, Served(link.partition("/?")[0]))  # pyright: ignore[reportArgumentType]
    browser.get(link)
    page.until(lambda: page.count("#message"))
    wrong = [answered(page, question) for question in ASKED]
    assert sum("magnet" in answer for answer in wrong) == 0
    before = watched.record("online_deployment")["model_version"]
    began = time.time()

    for question in ASKED:
        page.open()
        answered(page, question)
        correct(page, RIGHT)
    all_of = len(ASKED)
    watched.wait("the candidates for review", lambda: watched.record("feedback_candidates")["rows"] == all_of, STARTS)
    watched.wait("the end of their run", watched.idle, 120)
    for question in ASKED:
        decide(watched.state, question, "approve")
    watched.wait("the conversations", lambda: watched.record("feedback_conversations")["rows"] == all_of, STARTS)
    watched.wait("a dataset with them", lambda: RIGHT in dataset_text(home), STARTS)
    watched.wait("another deployment", lambda: watched.made(began)["online_deployment"], FINISHES)
    watched.wait("the end of its run", watched.idle, FINISHES)

    assert watched.record("online_deployment")["model_version"] != before
    page.open()
    now = answered(page, ASKED[0])
    assert "magnet" in now
    found = home.told("why", "--last")
    assert [near["answer"] for near in found["nearest"] if near["reviewed"]][:1] == [RIGHT]
    page.button("Why this answer?")
    page.until(lambda: "a person approved" in page.text())
    assert "Feedback from this chat" in page.text()
    assert RIGHT not in page.texts("dialog")[0]  # what one person wrote is shown to nobody else


def answered(page: ChatPage, question: str) -> str:
    """Ask in a conversation of its own; return the answer when it is whole."""
    page.open()
    page.ask(question)
    page.until(lambda: page.count("[aria-label='Bad answer']") and not page.count(".stop"), ANSWERS)
    return page.answers()[-1]


def correct(page: ChatPage, right: str) -> None:
    """Rate the answer as wrong, say what is right, and let it be used."""
    page.button("Bad answer")
    fields = page.until(lambda: page.browser.find_elements("css selector", ".dialog textarea"))
    fields[1].send_keys(right)
    page.click(".consent")
    page.button("Save")
    page.until(lambda: not page.count("dialog"))
