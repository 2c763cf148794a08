"""Azure AI Content Safety as the chat's filter, against answers in the form that its documentation shows."""

import asyncio
import json

import httpx
import pytest

from chat_code.__main__ import main
from chat_code.content_filter import AllOf, FilterUnavailable, WordList
from chat_code.content_safety import LONGEST_TEXT, ContentSafety
from phi_assets.backends import chat_server
from phi_assets.settings import read

ADDRESS = "https://safety.example.com/"


class Service(httpx.AsyncBaseTransport):
    """Rates a text with "fight" as violence of severity 4, one with "rude" as hate of severity 2."""

    def __init__(self, status: int = 200) -> None:
        self.status, self.seen, self.asked = status, [], []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.status != 200:
            return httpx.Response(self.status, json={"error": {"code": "Unauthorized", "message": "no"}})
        text = json.loads(request.content)["text"]
        assert 0 < len(text) <= 10_000
        self.seen.append(text)
        severities = {"Hate": 2 * ("rude" in text), "SelfHarm": 0, "Sexual": 0, "Violence": 4 * ("fight" in text)}
        analysis = [{"category": name, "severity": severity} for name, severity in severities.items()]
        return httpx.Response(200, json={"blocklistsMatch": [], "categoriesAnalysis": analysis})


def asked(service: httpx.AsyncBaseTransport, text: str, severity: int = 4, token=lambda: "t0k3n") -> str:
    return asyncio.run(ContentSafety(ADDRESS, token, severity, service).refuses(text))


def test_what_is_rated_at_the_severity_or_above_is_refused():
    service = Service()
    assert asked(service, "Hello there") == ""
    assert asked(service, "a rude word") == ""
    assert "Hate (severity 2 of 6)" in asked(service, "a rude word", severity=2)
    assert "Violence (severity 4 of 6)" in asked(service, "a fight")
    assert asked(service, "a fight", severity=6) == ""
    (request, *_) = service.asked
    assert str(request.url) == "https://safety.example.com/contentsafety/text:analyze?api-version=2024-09-01"
    assert request.headers["authorization"] == "Bearer t0k3n"


@pytest.mark.parametrize("place", [0, LONGEST_TEXT - 3, 3 * LONGEST_TEXT])
def test_a_long_text_is_read_to_its_end(place: int):
    service, text = Service(), "." * 40_000
    assert asked(service, text) == ""
    assert len(service.seen) == 5
    assert "Violence" in asked(service, text[:place] + "fight" + text[place:])


def test_nothing_is_asked_about_no_text():
    service = Service()
    assert asked(service, "") == asked(service, " \n") == ""
    assert service.asked == []


@pytest.mark.parametrize(("status", "told"), [(401, "role Cognitive Services User"), (429, "429"), (500, "500")])
def test_a_service_that_refuses_lets_nothing_pass(status: int, told: str):
    with pytest.raises(FilterUnavailable, match=told) as raised:
        asked(Service(status), "Hello my secret")
    assert "secret" not in str(raised.value)


def test_a_service_out_of_reach_another_answer_and_no_token_let_nothing_pass():
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    def refused() -> str:
        raise RuntimeError("not signed in")

    other = httpx.MockTransport(lambda request: httpx.Response(200, json={"categories": []}))
    for transport in (httpx.MockTransport(unreachable), other):
        with pytest.raises(FilterUnavailable, match="cannot be asked"):
            asked(transport, "Hello")
    with pytest.raises(FilterUnavailable, match="not signed in"):
        asked(Service(), "Hello", token=refused)


def test_a_list_of_words_goes_first(tmp_path):
    (tmp_path / "words.txt").write_text("forbidden\n", encoding="utf-8")
    service = Service()
    both = AllOf([WordList(tmp_path / "words.txt"), ContentSafety(ADDRESS, lambda: "t", transport=service)])

    async def refusals() -> list[str]:
        return [await both.refuses(text) for text in ("forbidden fight", "a fight", "hello")]

    first, second, third = asyncio.run(refusals())
    assert "list" in first
    assert "Violence" in second
    assert third == ""
    assert service.seen == ["a fight", "hello"]


def test_the_setting_reaches_the_server(capsys):
    assert chat_server.content_safety(read({})) == []
    settings = {"PHI_CHAT_CONTENT_SAFETY": ADDRESS, "PHI_CHAT_CONTENT_SAFETY_SEVERITY": "high"}
    options = chat_server.content_safety(read(settings))
    assert options == ["--content-safety", ADDRESS, "--content-safety-severity", "6"]
    options[-1] = "5"
    assert main(["--endpoint", "http://127.0.0.1:1/v1", "--history", "h.sqlite", "--port", "0", *options]) == 2
    assert "one of (2, 4, 6)" in capsys.readouterr().err
