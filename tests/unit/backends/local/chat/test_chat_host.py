"""The laptop's chat: a trial before it takes over, a stable address, and what is refused before anything changes."""

import json
from pathlib import Path

import httpx
import pytest

from phi_assets.backends.local.chat.chat_host import LocalChatHost
from phi_assets.backends.local.serving.processes import ServerProcess
from phi_assets.errors import BackendError
from phi_assets.records import BaseModel, Deployment, Endpoint
from tests.support.chat_server import StreamingEndpoint, streaming_endpoint

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def endpoint():
    with streaming_endpoint() as opened:
        yield opened


def host(home: Path, **changed) -> LocalChatHost:
    fields = {
        "port": 8190,
        "hosts": [],
        "system_prompt": None,
        "words": None,
        "content_safety": [],
        "max_tokens": 64,
        "temperature": 0.0,
        "answers_at_once": 2,
        "day_requests": 0,
        "day_tokens": 0,
        "keep_days": 0,
        "questions_file": None,
    }
    return LocalChatHost(**{"state": str(home), **fields, **changed})


def deploy(chat: LocalChatHost, endpoint: StreamingEndpoint, version: str = "3"):
    deployment = Deployment(
        digest=f"d{version}",
        endpoint="phi-chat",
        name="blue",
        model_name="phi",
        model_version=version,
        model_digest="m",
        dataset_digest="s",
        training_run="r",
    )
    base = BaseModel(
        digest="b" * 64, address="/no", source="pypi:base", architecture="x", parameters=1, context_length=1
    )
    at = Endpoint(digest="e", name="phi-chat", address=endpoint.address)
    return chat.deploy(at, deployment, base, "the-key", print)


@pytest.fixture
def home(tmp_path: Path):
    yield tmp_path
    host(tmp_path).stop()


def test_a_deployed_chat_opens_by_its_link_and_answers_programs(home, endpoint):
    endpoint.requests.clear()
    chat = host(home)
    assert chat.status() == {"address": None, "alive": False, "base": False}
    app = deploy(chat, endpoint)
    assert chat.status()["alive"]
    assert chat.find(app.digest) == app
    assert endpoint.requests[0]["body"]["messages"][-1]["content"] == "Hello! Who are you?"  # the trial
    with httpx.Client(trust_env=False) as client:
        opened = client.get(chat.link())
        assert opened.status_code == 303
        known = client.get(f"{app.address}/api/me").json()["models"]
        assert [(model["id"], model["available"]) for model in known] == [("tuned", True)]
        listed = client.get(f"{app.address}/v1/models", headers={"authorization": f"Bearer {chat.key()}"})
        assert listed.status_code == 200
        assert client.get(f"{app.address}/api/me", headers={"host": "evil.example"}).status_code == 403
    assert deploy(chat, endpoint) == app
    pid = ServerProcess(chat.folder, "chat").pid()
    other = deploy(chat, endpoint, "4")
    assert (other.address, other.digest != app.digest) == (app.address, True)
    assert ServerProcess(chat.folder, "chat").pid() == pid  # what is known of the model is read anew, without a restart
    chat.stop()
    assert not chat.status()["alive"]


def test_another_setting_restarts_it_at_the_same_address_and_the_history_stays(home, endpoint):
    chat = host(home)
    app = deploy(chat, endpoint)
    with httpx.Client(trust_env=False, headers={"authorization": f"Bearer {chat.key()}"}) as program:
        body = {"messages": [{"role": "user", "content": "hello"}], "store": True}
        body["metadata"] = {"conversation": "kept-by-a-program"}
        assert program.post(f"{app.address}/v1/chat/completions", json=body).status_code == 200
    changed = host(home, max_tokens=65)
    again = deploy(changed, endpoint)
    assert (again.address, again.digest != app.digest) == (app.address, True)
    with httpx.Client(trust_env=False, headers={"x-phi-chat": "1"}) as client:
        client.get(changed.link())
        [kept] = client.get(f"{app.address}/api/conversations").json()["conversations"]
    assert kept["id"] == "kept-by-a-program"


def test_a_chat_that_cannot_answer_does_not_take_over(home, endpoint):
    chat = host(home)
    app = deploy(chat, endpoint)
    pid = ServerProcess(chat.folder, "chat").pid()
    endpoint.steps.append(("refuse", 500))
    with pytest.raises(BackendError, match=r"cannot answer, and nothing was changed: .*scripted"):
        deploy(host(home, max_tokens=65), endpoint)
    assert ServerProcess(chat.folder, "chat").pid() == pid
    assert chat.find(app.digest) == app
    assert not list(chat.folder.glob("trial-*"))


def test_a_system_prompt_with_a_secret_is_refused_with_file_and_line(home, endpoint, tmp_path):
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Be brief.\nUse the key sk-proj-abcdefghijklmnopqrstuvwx1234567890 for tools.\n")
    with pytest.raises(BackendError, match=r"prompt\.txt:2 holds a secret"):
        deploy(host(home, system_prompt=str(prompt)), endpoint)
    with pytest.raises(BackendError, match=r"PHI_CHAT_WORDS: .*cannot be read"):
        deploy(host(home, words=str(tmp_path / "missing.txt")), endpoint)
    assert host(home).status()["address"] is None


def test_nothing_is_opened_before_the_first_deployment(home):
    chat = host(home)
    chat.start()
    with pytest.raises(BackendError, match="`phi run` makes it"):
        chat.link()


def test_what_another_release_stored_is_deployed_again(home, endpoint):
    chat = host(home)
    deploy(chat, endpoint)
    try:
        file = chat.folder / "state.json"
        fields = json.loads(file.read_text(encoding="utf-8"))
        fields.pop("port")
        file.write_text(json.dumps(fields), encoding="utf-8")
        assert chat.status()["address"] is None
        chat.start()
        deploy(chat, endpoint)
        assert chat.status()["address"]
    finally:
        chat.stop()
