"""The whole Azure graph to the chat by `phi run`: two people, and an answer that one corrects is learned and served."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from azure_emulator.identity.identities import TENANT
from azure_emulator.identity.tokens import Tokens
from azure_emulator.process import LocalAzure
from phi_assets.backends.azure.chat import forged_header
from tests.integration.test_whole_azure_graph import JOBS, azure_home, writes
from tests.support.chat_server import OURS, ask, text_of
from tests.support.homes import Home, chat_link, dataset_text, made, settings_of
from tests.support.reviews import decide

pytestmark = [pytest.mark.long, pytest.mark.azure, pytest.mark.integration, pytest.mark.timeout(1800)]

CLIENT = "33333333-3333-3333-3333-333333333333"
QUESTION, RIGHT = "What holds the Umbra in place?", "The Umbra is held by magnets."
CHAT = {"chat_database", "chat_environment", "chat_app", "feedback_candidates", "feedback_conversations"}


@pytest.fixture(scope="module")
def home(azure: LocalAzure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    its = azure_home(tmp_path_factory.mktemp("home"), 3790)
    its.settings["PHI_AZURE_CHAT_CLIENT_ID"] = CLIENT
    yield its
    its.phi("down")


@pytest.fixture(scope="module")
def people(azure: LocalAzure) -> dict[str, str]:
    """Two people's object ids."""
    return {name: azure.control.new_service_principal(name)["oid"] for name in ("ann", "bob")}


@contextmanager
def signed_in(azure: LocalAzure, home: Home, oid: str = "", **headers: str) -> Iterator[httpx.Client]:
    """Give a client of the chat, with a person's token."""
    token = {"authorization": f"Bearer {Tokens(azure.control.state).issue(oid, f'api://{CLIENT}')}"} if oid else {}
    with httpx.Client(base_url=chat_link(home), headers={**OURS, **token, **headers}, timeout=120) as client:
        yield client


def test_the_first_run_makes_every_asset_to_the_chat(azure: LocalAzure, home: Home):
    assert home.run() >= CHAT
    assert set(home.status().values()) == {"fresh"}
    assert len(azure.control.executed_jobs()) == JOBS


def test_a_second_run_writes_nothing(azure: LocalAzure, home: Home):
    azure.control.forget_requests()
    assert home.run() == set()
    assert writes(azure) == []


def test_two_people_see_only_their_own_and_a_forged_header_is_refused(azure, home, people):
    with signed_in(azure, home, people["ann"]) as ann, signed_in(azure, home, people["bob"]) as bob:
        assert ask(ann, "conversation-of-ann", QUESTION)[-1][0] == "done"
        assert ask(bob, "conversation-of-bob", "Hello?")[-1][0] == "done"
        for client, own, other in (
            (ann, "conversation-of-ann", "conversation-of-bob"),
            (bob, "conversation-of-bob", "conversation-of-ann"),
        ):
            assert [each["id"] for each in client.get("/api/conversations").json()["conversations"]] == [own]
            assert client.get(f"/api/conversations/{other}").status_code == 404
    forged = {"x-ms-client-principal": forged_header.principal(people["ann"], TENANT)}
    with signed_in(azure, home, **forged) as nobody:
        assert nobody.get("/api/conversations").status_code == 401


def test_a_corrected_answer_is_reviewed_learned_and_served_and_deleted_again(azure, home, people):
    before = home.told("status")["endpoint"]
    state = settings_of(home).state
    with signed_in(azure, home, people["ann"]) as ann:
        given = {"value": "down", "comment": "", "correction": RIGHT, "consent": True}
        assert (
            ann.put("/api/conversations/conversation-of-ann/messages/answer-1/feedback", json=given).status_code == 200
        )
    assert "feedback_candidates" in home.run()
    decide(state, QUESTION, "approve")

    learned = home.run()

    assert {"feedback_conversations", "chat_dataset", "fine_tuned_model", "online_deployment", "chat_app"} <= learned
    assert home.told("status")["endpoint"] != before
    assert len(azure.control.executed_jobs()) == 2 * JOBS
    assert RIGHT in dataset_text(home)
    with signed_in(azure, home, people["ann"]) as ann:
        told = ask(ann, "conversation-later", QUESTION, 2)
        assert told[-1][0] == "done"
        assert text_of(told)
        assert ann.delete("/api/conversations/conversation-of-ann").status_code in (200, 204)
    # Its exit code is not looked at: the gate may refuse a two-layer model for the row that it no longer learned.
    assert "feedback_conversations" in made(home.phi("run").stdout)
    assert RIGHT not in dataset_text(home)
