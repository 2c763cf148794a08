"""axe-core finds nothing serious in any state: light, dark, and on a phone of 360 pixels."""

import pytest

from tests.support.chat_api_fake import fill
from tests.support.chat_page import AXE, ChatPage
from tests.support.chat_states import STATES

pytestmark = [pytest.mark.browser, pytest.mark.integration]

LOOKS = {"light": (1280, 860, "light"), "dark": (1280, 860, "dark"), "phone": (360, 740, "light")}


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_serious(page: ChatPage, look: str):
    if not AXE.is_file():
        pytest.skip("needs axe-core: npm ci --prefix chat_page")
    width, height, scheme = LOOKS[look]
    page.size(width, height)
    page.colours(scheme)
    found = {}
    for name, show in STATES.items():
        page.fake.reset()
        fill(page.fake)
        show(page)
        found[name] = page.axe(), page.scrolls_sideways()
    assert found == {name: ([], []) for name in STATES}


def test_axe_would_find_a_button_without_a_name(page: ChatPage):
    if not AXE.is_file():
        pytest.skip("needs axe-core: npm ci --prefix chat_page")
    page.open()
    page.js("document.querySelector('main').append(document.createElement('button'))")
    assert [each for each in page.axe() if each.startswith("button-name")]
