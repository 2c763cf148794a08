"""The chat on the local Azure: behind sign-in, for two people, and closed as soon as sign-in is off."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp.connector
import httpx
import pytest

from azure_emulator.control import Control
from azure_emulator.identity.identities import TENANT
from azure_emulator.identity.tokens import Tokens
from phi_assets.backends.azure.chat import forged_header
from phi_assets.backends.azure.chat.container_app import ContainerApp
from phi_assets.backends.azure.client import credential
from phi_assets.backends.select import build_resources
from phi_assets.errors import BackendError
from phi_assets.records import BaseModel, ChatApp
from tests.support.azure_endpoint import Stage, hurry
from tests.support.azure_jobs import MARKS
from tests.support.azure_place import Place, local_azure_at
from tests.unit.backends.azure.serving.test_endpoint_server import a_tiny_model

pytestmark = MARKS
CLIENT = "33333333-3333-3333-3333-333333333333"
OURS = {"x-phi-chat": "1"}
BASE = BaseModel(digest="b" * 64, address="", source="hf:base", architecture="x", parameters=1, context_length=1)


@dataclass
class Chat:
    """The deployed chat, and what people send to it."""

    stage: Stage
    app: ChatApp
    resources: dict[str, Any]
    again: Any

    @property
    def host(self) -> Any:
        return self.resources["chat_host"]

    def ask(self, method: str, path: str, token: str = "", **more: Any) -> httpx.Response:
        headers = {**OURS, **more.pop("headers", {}), **({"authorization": f"Bearer {token}"} if token else {})}
        return httpx.request(method, self.app.address + path, headers=headers, timeout=60, **more)

    def person(self, name: str, audience: str = f"api://{CLIENT}") -> str:
        """Return the token of a new person."""
        oid = self.stage.control.new_service_principal(name)["oid"]
        return Tokens(self.stage.control.state).issue(oid, audience)

    def container_app(self) -> ContainerApp:
        return ContainerApp(self.stage.place.clients, self.stage.place.log)


@pytest.fixture(scope="module")
def chat(tmp_path_factory) -> Iterator[Chat]:
    with pytest.MonkeyPatch.context() as patched, local_azure_at(tmp_path_factory.mktemp("azure")) as control:
        hurry(patched, quick_server=False)
        patched.setattr(forged_header, "PAUSE_SECONDS", 0.1)
        # aiohttp reads SSL_CERT_FILE once, when it is imported.
        patched.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context())
        credential.forget()
        yield deployed(control, tmp_path_factory.mktemp("home"))


def deployed(control: Control, home) -> Chat:
    place = Place(control, home, others={"PHI_AZURE_CHAT_CLIENT_ID": CLIENT})
    stage = Stage(place)
    place.deploy()
    endpoint = stage.host().ensure_endpoint(place.log)
    deployment = stage.host().deploy(a_tiny_model(stage, "first"), place.log)
    resources = build_resources(place.settings)
    resources["chat_resources"].ensure(place.log)

    def again() -> ChatApp:
        key = stage.host().key()
        return resources["chat_host"].deploy(endpoint, deployment, BASE, key, place.log)

    return Chat(stage, again(), resources, again)


def test_two_people_see_only_their_own_conversations(chat: Chat):
    ann, bob = chat.person("ann"), chat.person("bob")
    body = {"id": "question-1", "answer_id": "answer-1", "parent": None, "content": "Hello!", "model": "tuned"}
    told = chat.ask("POST", "/api/conversations/conversation-1/messages", ann, json=body)
    assert told.status_code == 200, told.text
    assert [each["id"] for each in chat.ask("GET", "/api/conversations", ann).json()["conversations"]] == [
        "conversation-1"
    ]

    assert chat.ask("GET", "/api/conversations", bob).json()["conversations"] == []
    assert chat.ask("GET", "/api/conversations/conversation-1", bob).status_code == 404
    assert chat.ask("DELETE", "/api/conversations/conversation-1", bob).status_code == 404
    forged = {
        "x-ms-client-principal": forged_header.principal(
            Tokens(chat.stage.control.state).read(ann, f"api://{CLIENT}").oid, TENANT
        )
    }
    assert chat.ask("GET", "/api/conversations/conversation-1", bob, headers=forged).status_code == 404
    assert chat.ask("GET", "/api/conversations/conversation-1", ann).status_code == 200


def test_without_a_token_for_the_chat_a_page_redirects_and_the_api_answers_401(chat: Chat):
    assert chat.ask("GET", "/").status_code == 302
    for token in ("", chat.person("ann", "https://management.azure.com"), "nonsense"):
        for path in ("/api/me", "/v1/models"):
            assert chat.ask("GET", path, token).status_code == 401
    assert chat.ask("GET", "/v1/models", chat.person("ann")).status_code == 200


def test_the_record_is_found_and_a_second_deployment_changes_nothing(chat: Chat):
    assert chat.host.find(chat.app.digest) == chat.app
    revisions = chat.container_app().active_revisions()
    assert chat.again() == chat.app
    assert chat.container_app().active_revisions() == revisions
    assert len(revisions) == 1


def test_sign_in_switched_off_in_the_portal_closes_the_ingress_with_the_next_check(chat: Chat):
    app = chat.container_app()
    assert chat.host.examine()["forged_header_refused"].passed
    app._send("PUT", f"{app.id}/authConfigs/current", {"properties": {"platform": {"enabled": False}}}, "switching off")
    forged = {"x-ms-client-principal": forged_header.principal(CLIENT, TENANT)}
    assert chat.ask("GET", "/api/me", headers=forged).status_code == 200, "the local Azure passes it on, as Azure would"

    outcome = chat.host.examine()["forged_header_refused"]

    assert not outcome.passed
    assert "ingress is closed" in outcome.description
    assert chat.ask("GET", "/api/me", headers=forged).status_code == 404
    assert chat.host.find(chat.app.digest) is None
    assert chat.host.status()["address"] is None
    with pytest.raises(BackendError, match="phi run"):
        chat.host.link()

    assert chat.again().digest == chat.app.digest
    assert chat.ask("GET", "/api/me", headers=forged).status_code == 401
    assert chat.host.status()["alive"]


def test_a_rating_reaches_the_pipeline_and_no_conversation_does(chat: Chat):
    store = chat.resources["feedback_store"]
    before, ann = store.rated(), chat.person("ann")
    body = {"id": "question-2", "answer_id": "answer-2", "parent": None, "content": "Hello again!", "model": "tuned"}
    chat.ask("POST", "/api/conversations/conversation-2/messages", ann, json=body)
    assert store.rated() == before
    given = {"value": "down", "comment": "", "correction": "Good day.", "consent": True}
    assert (
        chat.ask("PUT", "/api/conversations/conversation-2/messages/answer-2/feedback", ann, json=given).status_code
        == 200
    )
    assert store.rated() != before
