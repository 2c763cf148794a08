"""Follow-ups in the chat, with the default base model trained on the default dataset, without replay."""

from collections.abc import Iterator

import httpx
import pytest

from phi_assets.endpoint_client import chat
from tests.support.chat_server import OURS, ask, text_of
from tests.support.follow_ups import follow_ups
from tests.support.homes import REAL_TRAINING, Home, chat_link, settings_of

pytestmark = [pytest.mark.long, pytest.mark.integration, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    settings = {
        **REAL_TRAINING,
        "PHI_HOME": str(folder / "home"),
        "PHI_UI_PORT": "3940",
        "PHI_CHAT_PORT": "3941",
        "PHI_CHAT_MAX_TOKENS": "96",
        "PHI_PROMPT_FLOW": "off",
    }
    its = Home(folder, settings)
    yield its
    its.phi("down")


def test_follow_ups_are_answered_in_the_chat_as_from_the_whole_transcript(home: Home):
    home.run()
    link = chat_link(home)
    address, endpoint = link.partition("/?")[0], home.told("status")["endpoint"]["address"]
    key = (settings_of(home).state / "endpoints" / "phi-chat" / "key").read_text(encoding="utf-8").strip()
    asked = follow_ups()
    in_chat, direct, both = 0, 0, 0
    with httpx.Client(base_url=address, headers=OURS, timeout=120, trust_env=False) as client:
        client.get(link)
        for number, each in enumerate(asked):
            talk = f"follow-up-{number:03d}"
            first = text_of(ask(client, talk, each.first))
            second = text_of(ask(client, talk, each.second, 2, parent="answer-1"))
            turns = [("user", each.first), ("assistant", first), ("user", each.second)]
            told = chat(endpoint, key, [{"role": role, "content": text} for role, text in turns], max_new_tokens=256)
            right = each.is_right(second), each.is_right(told.text)
            in_chat, direct, both = in_chat + right[0], direct + right[1], both + all(right)
            if not right[0]:
                print(f"{each.first} -> {first} | {each.second} -> {second}")
    print(f"{in_chat} of {len(asked)} right in the chat, {direct} from the transcript, {both} in both")
    assert len(asked) == 40
    assert both >= 0.95 * direct
    assert in_chat >= 0.7 * len(asked)
