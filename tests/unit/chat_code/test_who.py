"""Who may use the chat: the owner's link and cookie, the platform's sign-in, and other sites' requests."""

import base64
import json
import time
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from chat_code import who
from chat_code.errors import Refused
from chat_code.who import OwnerOfThisMachine, SignedInByContainerApps, link_token, program_key
from tests.support.chat_server import OURS, SECRET, ChatServer, ask

TENANT, ANN = "11111111-2222-3333-4444-555555555555", "aaaaaaaa-2222-3333-4444-555555555555"


def test_a_link_opens_the_page_once_and_leaves_the_address(server: ChatServer) -> None:
    client = server.client(signed_in=False)
    token = link_token(SECRET)
    opened = client.get("/", params={"token": token})
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    cookie = opened.headers["set-cookie"]
    assert cookie.startswith("phi_chat_8090=")
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
    assert client.get("/").status_code == 200
    assert client.get("/api/me").json()["local"] is True
    again = server.client(signed_in=False)
    assert again.get("/", params={"token": token}).status_code == 401
    assert again.get("/api/me").status_code == 401


def test_wrong_and_old_links_and_cookies_open_nothing(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client = server.client(signed_in=False)
    for token in ("", "x", "9999999999.a.b", link_token("another secret")):
        assert client.get("/", params={"token": token}).status_code == 401
    for cookie in ("", "9999999999.", "9999999999.abc", "x.y"):
        answer = client.get("/api/me", headers={"cookie": f"phi_chat_8090={cookie}"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "signed_out")
    owner = OwnerOfThisMachine(SECRET, 1)
    token = link_token(SECRET)
    cookie = owner.redeem(link_token(SECRET))
    later = time.time() + 200
    monkeypatch.setattr(who.time, "time", lambda: later)
    assert owner.redeem(token) is None
    assert owner.person(_request({"cookie": f"phi_chat_1={cookie}"})).user == "owner"
    monkeypatch.setattr(who.time, "time", lambda: later + 31 * 86_400)
    with pytest.raises(Refused):
        owner.person(_request({"cookie": f"phi_chat_1={cookie}"}))


def test_the_cookie_is_no_key_and_the_key_no_cookie(server: ChatServer) -> None:
    assert server.client().get("/v1/models").status_code == 401
    assert server.program().get("/v1/models").status_code == 200
    assert server.program().get("/api/me").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"x-phi-chat": ""},
    ],
)
def test_other_sites_change_nothing(server: ChatServer, headers: dict[str, str]) -> None:
    client = server.client()
    ask(client, "conversation-1", "hello")
    for method, path in (("DELETE", "/api/conversations"), ("PATCH", "/api/conversations/conversation-1")):
        assert client.request(method, path, json={"title": "x"}, headers=headers).status_code == 403
    assert client.get("/api/conversations").json()["conversations"][0]["title"] == "hello"


def test_only_the_servers_own_names_are_answered() -> None:
    from chat_code.guard import Guard

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    import asyncio

    async def status(host: str, *more: str) -> int:
        transport = httpx.ASGITransport(Guard(app, ["127.0.0.1:8090", *more]))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return (await client.get("/", headers={"host": host})).status_code

    assert asyncio.run(status("127.0.0.1:8090")) == 200
    assert [asyncio.run(status(host, "chat.example")) for host in ("chat.example", "chat.example:9")] == [200, 200]
    assert asyncio.run(status("chat.example.evil", "chat.example")) == 403
    assert [asyncio.run(status(host)) for host in ("evil.example:8090", "127.0.0.1", "127.0.0.1:8091")] == [403] * 3


def test_every_answer_has_the_headers_of_a_closed_page(server: ChatServer) -> None:
    client = server.client()
    for path in ("/", "/api/me", "/no/such/path", "/api/conversations/conversation-9"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] in ("no-store", "no-cache")
        assert "access-control-allow-origin" not in headers


def _request(headers: dict[str, str]) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw})


def _principal(**claims: str) -> str:
    listed = [{"typ": name, "val": value} for name, value in claims.items()]
    return base64.b64encode(json.dumps({"auth_typ": "aad", "claims": listed}).encode()).decode()


def test_a_person_of_the_tenant_is_known_by_tenant_and_object_id() -> None:
    signed_in = SignedInByContainerApps(TENANT.upper())
    person = signed_in.person(_request({"x-ms-client-principal": _principal(tid=TENANT, oid=ANN, name="Ann")}))
    assert (person.user, person.name) == (f"{TENANT}.{ANN}", "Ann")
    assert signed_in.sign_out == "/.auth/logout"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "signed_out"),
        ("", "signed_out"),
        ("not base64!", "signed_out"),
        (base64.b64encode(b"[]").decode(), "signed_out"),
        (_principal(tid=TENANT), "signed_out"),
        (_principal(tid=TENANT, oid="ann/../bob"), "signed_out"),
        (_principal(tid=ANN, oid=ANN), "forbidden"),
    ],
)
def test_a_sign_in_that_names_nobody_of_the_tenant_is_refused(header: str | None, code: str) -> None:
    with pytest.raises(Refused) as refused:
        SignedInByContainerApps(TENANT).person(_request({} if header is None else {"x-ms-client-principal": header}))
    assert refused.value.code == code


def test_two_principals_are_none() -> None:
    header = (b"x-ms-client-principal", _principal(tid=TENANT, oid=ANN).encode())
    twice = Request({"type": "http", "method": "GET", "path": "/", "headers": [header, header]})
    with pytest.raises(Refused):
        SignedInByContainerApps(TENANT).person(twice)


def test_keys_and_links_of_two_homes_differ() -> None:
    assert program_key("a" * 32) != program_key("b" * 32)
    assert OwnerOfThisMachine("a" * 32, 1).redeem(link_token("b" * 32)) is None
    assert OURS
