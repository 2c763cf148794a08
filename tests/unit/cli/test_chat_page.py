"""`phi chat`, `phi review` and `phi forget` over a real chat server, with a host that was made up."""

import io
import re
from types import SimpleNamespace

import pytest

from chat_code.who import link_token, program_key
from phi_assets.cli import chat_page, review
from phi_assets.cli.main import main
from phi_assets.ports.chat import Forgotten
from tests.support.chat_server import SECRET, ChatServer, chat_server, streaming_endpoint


@pytest.fixture
def server(tmp_path, monkeypatch):
    with streaming_endpoint() as endpoint, chat_server(tmp_path / "h.sqlite", {"tuned": endpoint.address}) as running:
        host = SimpleNamespace(
            status=lambda: {"address": running.address, "alive": True},
            start=lambda log, base=False: log(f"base: {base}"),
            link=lambda: f"{running.address}/?token={link_token(SECRET)}",
            key=lambda: program_key(SECRET),
        )
        resources = {"chat_host": host, "endpoint_host": SimpleNamespace(start=lambda log: None)}
        monkeypatch.setattr(chat_page, "build_resources", lambda settings: resources)
        yield running


@pytest.mark.documented("phi chat")
def test_the_link_opens_the_page_once(server: ChatServer, capsys):
    assert main(["chat", "--base"]) == 0
    out = capsys.readouterr().out
    assert "base: True" in out
    link = re.findall(r"http://\S+", out)[-1]
    assert server.client(signed_in=False).get(link).status_code == 303
    assert server.client(signed_in=False).get(link).status_code == 401


def test_the_key_is_for_other_programs(server: ChatServer, capsys):
    assert main(["chat", "--key"]) == 0
    assert f"key      {program_key(SECRET)}" in capsys.readouterr().out
    assert main(["chat", "--key", "--terminal"]) == 2


def test_what_is_typed_in_the_terminal_is_answered_and_kept(server: ChatServer, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("hello there\nand \x1b[31mthen?\n\nnot asked\n"))
    assert main(["chat", "--terminal"]) == 0
    out = capsys.readouterr().out
    assert "You said: hello there" in out
    assert "\x1b[31m" not in out
    client = server.client()
    [conversation] = client.get("/api/conversations").json()["conversations"]
    messages = client.get(f"/api/conversations/{conversation['id']}").json()["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2


def test_before_the_first_run_there_is_no_chat(monkeypatch, capsys):
    host = SimpleNamespace(status=lambda: {"address": None})
    monkeypatch.setattr(chat_page, "build_resources", lambda settings: {"chat_host": host})
    assert main(["chat"]) == 1
    assert "`phi run` makes it" in capsys.readouterr().err
    monkeypatch.setattr(chat_page, "build_resources", lambda settings: {})
    assert main(["chat"]) == 1
    assert "without PHI_AZURE_CHAT_CLIENT_ID" in capsys.readouterr().err


@pytest.mark.documented("phi review")
def test_review_prints_the_queues_page(monkeypatch, capsys):
    store = SimpleNamespace(review_page=lambda log: "http://127.0.0.1:5000/#/queue")
    monkeypatch.setattr(review, "build_resources", lambda settings: {"feedback_store": store})
    assert main(["review"]) == 0
    assert "http://127.0.0.1:5000/#/queue" in capsys.readouterr().out


def test_forget_asks_first_and_lists_what_still_holds_the_words(monkeypatch, capsys):
    asked: list[tuple[str | None, str | None]] = []

    def forget(conversation, user, log):
        asked.append((conversation, user))
        return Forgotten(2, ("d1",), ("m1",), ("/backups/history.sqlite",), "" if user is None else "ask ann")

    store = SimpleNamespace(forget=forget)
    monkeypatch.setattr(review, "build_resources", lambda settings: {"feedback_store": store})
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert main(["forget", "conversation-1"]) == 1
    assert asked == []
    assert main(["forget", "--all", "--yes"]) == 0
    assert asked == [(None, None)]
    out = capsys.readouterr().out
    assert all(word in out for word in ("deleted 2", "d1", "m1", "/backups/history.sqlite"))
    assert main(["forget", "--user", "ann", "--yes"]) == 0
    assert asked[1:] == [(None, "ann")]
    assert "forgotten 2" in (out := capsys.readouterr().out)
    assert "ask ann" in out
    assert main(["forget"]) == main(["forget", "--all", "--user", "ann"]) == 2
