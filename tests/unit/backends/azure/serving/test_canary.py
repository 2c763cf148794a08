"""The test questions of a trial: what counts as the deployment's answer, and which errors are not held against it."""

from typing import Any

import pytest

from phi_assets import endpoint_client
from phi_assets.backends.azure.serving import canary
from phi_assets.backends.azure.serving.canary import Questions
from phi_assets.endpoint_client import NoAnswer
from phi_assets.redaction import masked
from tests.unit.test_endpoint_client import endpoint

NEW = {"azureml-model-deployment": "new", "x-model-name": "phi-chat", "x-model-version": "2"}
OLD = {**NEW, "azureml-model-deployment": "old", "x-model-version": "1"}
KEY = "a-planted-key-0123456789"
FULL = (429, NEW, {"error": {"message": f"full; you came with {KEY}"}})
UNAUTHORIZED = (401, {}, {"error": {"message": "token_auth_access_denied"}})


def said(text: str, by: dict[str, str] = NEW) -> tuple[int, dict[str, str], Any]:
    return (200, by, {"id": "one", "choices": [{"message": {"content": text}, "finish_reason": "stop"}]})


RIGHT, WRONG = said("hello"), said("something else")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(endpoint_client, "TRIES", 1)
    monkeypatch.setattr(canary, "SECONDS_BETWEEN", 0.01)
    monkeypatch.setattr(canary, "FIRST_WAIT", 0.01)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(canary, "UNANSWERED_SECONDS", 0.3)


def watched(*answers: tuple[int, dict[str, str], Any], seconds: float = 0.0, role_minutes: float = 0.0) -> list[str]:
    """What was logged while these answers came in turn, by name and not; the last one for ever."""
    log: list[str] = []
    with endpoint(*answers) as (address, _):
        questions = Questions(address, lambda: KEY, "new", "phi-chat", "2", log.append, role_minutes)
        questions.expected = "hello"
        questions.watch(seconds, lambda: None)
    assert KEY not in "".join(log)
    return log


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("before", [[], [RIGHT] * 6], ids=["never", "only at first"])
def test_a_deployment_that_does_not_answer_is_not_proven(before):
    with pytest.raises(NoAnswer, match=r"gave no correct answer .* pinned questions were answered"):
        watched(*before, FULL, seconds=60.0)


@pytest.mark.usefixtures("impatient")
def test_answers_of_the_old_one_prove_nothing_of_the_new_one():
    turns = [answer for _ in range(100) for answer in (FULL, said("hello", OLD))]
    with pytest.raises(NoAnswer, match="0 of"):
        watched(*turns, FULL, seconds=0.1)


def test_a_full_house_that_empties_is_nobodys_fault():
    log = watched(FULL, FULL, FULL, FULL, RIGHT)
    assert sum("did not answer" in words for words in log) == 4


@pytest.mark.usefixtures("impatient")
def test_an_address_that_is_not_reached_for_long_is_a_failure():
    questions = Questions("http://127.0.0.1:9", lambda: KEY, "new", "phi-chat", "2", print)
    with pytest.raises(NoAnswer, match="gave no correct answer"):
        questions.watch(0.0, lambda: None)
    with pytest.raises(NoAnswer, match="cannot be reached"):
        questions.smoke_test()


@pytest.mark.parametrize("place", [4, 5], ids=["by name", "not by name"])
def test_who_answers_wrongly_at_last_is_asked_once_more(place):
    turns = [RIGHT] * 6
    turns[place] = WRONG
    watched(*turns, RIGHT)
    with pytest.raises(NoAnswer, match="greedy answers must be equal"):
        watched(*turns[:5], WRONG)


def test_a_failure_without_a_name_is_not_the_new_ones_unless_it_was_asked_by_name():
    nameless = (500, {}, {"error": {"message": "broken"}})
    log = watched(RIGHT, nameless, RIGHT, nameless, RIGHT, nameless, RIGHT)
    assert any("the endpoint did not answer" in words for words in log)
    with pytest.raises(NoAnswer, match="broken"):
        watched(nameless)


def test_a_role_that_lets_tokens_in_is_waited_for_and_named():
    log = watched(UNAUTHORIZED, UNAUTHORIZED, UNAUTHORIZED, RIGHT, role_minutes=1.0)
    assert any("AzureML Data Scientist has not taken effect yet" in words for words in log)
    with pytest.raises(NoAnswer, match=r"AzureML Data Scientist.*az role assignment create"):
        watched(UNAUTHORIZED, role_minutes=0.002)


def test_a_key_that_is_refused_twice_is_a_failure_at_once():
    with pytest.raises(NoAnswer, match="401"):
        watched(UNAUTHORIZED)


def test_the_smoke_test_waits_for_room():
    whole, by_score = said("hello there"), (200, NEW, ["hello there"])
    with endpoint(FULL, whole, whole, by_score) as (address, paths):
        questions = Questions(address, lambda: KEY, "new", "phi-chat", "2", print)
        questions.smoke_test()
    assert questions.expected == "hello there"
    assert paths == ["/v1/chat/completions"] * 3 + ["/score"]


@pytest.mark.parametrize(
    "words",
    [
        '{{"Authorization": "{}"}}',
        "authorization: Bearer {}",
        "SERVING_KEY='{}'",
        "https://x.blob/y?sig={}",
    ],
)
def test_what_looks_like_a_secret_is_masked(words):
    assert "abcdefghijklmnop" not in masked(words.format("abcdefghijklmnopqrstuvwx"))


def test_a_known_key_is_masked_wherever_it_stands():
    assert masked(f"got key {KEY}, twice: {KEY}", [KEY, "", "none"]) == "got key ***, twice: ***"
    assert masked("none is a word", ["none"]) == "none is a word"
    assert "eyJ" not in masked("came with eyJhbGciOiJSUzI1.eyJvaWQiOiIxMjM0.c2lnbmF0dXJl")
