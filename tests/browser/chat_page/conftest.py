"""Fixtures: the chat page over a scripted server."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chat_api_fake import ChatApiFake, chat_api_fake
from tests.support.chat_page import ChatPage
from tests.support.chromium import chromium


@pytest.fixture(scope="module")
def chat_browser(tmp_path_factory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium"), network=True) as opened:
        opened.implicitly_wait(0)
        yield opened


@pytest.fixture(scope="module")
def chat_server() -> Iterator[ChatApiFake]:
    with chat_api_fake() as served:
        yield served


@pytest.fixture
def page(chat_browser, chat_server) -> ChatPage:
    """The page of a new visitor, before it is opened: nothing asked, nothing stored."""
    chat_server.reset()
    opened = ChatPage(chat_browser, chat_server)
    opened.size(1280, 860)
    opened.colours("light")
    chat_browser.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": chat_server.address, "storageTypes": "all"})
    opened.errors()
    return opened
