"""The guard of Dagster's UI, request by request: what other pages, other names and GET may not do."""

import asyncio
from collections.abc import Mapping

import pytest

from phi_assets.instance.guard import Guard, host_name

OWN = "127.0.0.1:3000"
JSON = "application/json"
PAGE = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}

Headers = Mapping[str, str] | list[tuple[str, str]]


class Dagster:
    """An application that answers everything, and keeps what reached it."""

    def __init__(self) -> None:
        self.reached: list[dict] = []

    async def __call__(self, scope, receive, send) -> None:
        self.reached.append(scope)
        if scope["type"] == "http":
            headers = [(b"content-type", b"text/html"), (b"content-security-policy", b"default-src 'self'")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"Dagster"})


class Browser:
    """Sends requests through the guard."""

    def __init__(self, hosts: tuple[str, ...] = ()) -> None:
        self.dagster = Dagster()
        self.guard = Guard(self.dagster, hosts)
        self.sent: list[dict] = []

    def ask(self, method: str, path: str, headers: Headers = (), *, kind: str = "http", host: str = OWN) -> int:
        """Return the HTTP status; for a WebSocket 101 or the close code."""
        path, _, query = path.partition("?")
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        if host:
            pairs = [("host", host), *pairs]
        scope = {
            "type": kind,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs],
            **({"method": method} if kind == "http" else {}),
        }
        self.sent = []

        async def receive() -> dict:
            return {"type": "websocket.connect"}

        async def send(message) -> None:
            self.sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        if kind == "websocket":
            return self.sent[0]["code"] if self.sent else 101
        return self.sent[0]["status"]

    @property
    def said(self) -> str:
        return self.sent[1]["body"].decode()


@pytest.fixture
def browser() -> Browser:
    return Browser()


def own_page(more: Headers = ()) -> dict[str, str]:
    return {"origin": f"http://{OWN}", "sec-fetch-site": "same-origin", **dict(more)}


# What the UI itself sends.


@pytest.mark.parametrize("path", ["/", "/assets/chat_dataset", "/locations", "/static/js/main.js", "/logs/run/step"])
@pytest.mark.parametrize("site", [{}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}])
def test_pages_of_the_ui_are_served(browser, path, site):
    assert browser.ask("GET", path, site) == 200


@pytest.mark.parametrize("kind", [JSON, "Application/JSON", "application/json; charset=utf-8"])
def test_the_ui_s_own_queries_and_mutations_pass(browser, kind):
    assert browser.ask("POST", "/graphql", own_page({"content-type": kind})) == 200


def test_a_program_without_a_browser_s_headers_passes(browser):
    assert browser.ask("POST", "/graphql", {"content-type": JSON}) == 200
    assert browser.ask("POST", "/report_asset_materialization/x", {"content-type": JSON}) == 200


def test_the_ui_s_own_websocket_passes(browser):
    assert browser.ask("GET", "/graphql", own_page(), kind="websocket") == 101


def test_a_link_from_another_page_opens_the_ui(browser):
    assert browser.ask("GET", "/runs/1", {"sec-fetch-site": "cross-site", **PAGE}) == 200


def test_dagster_s_page_for_queries_by_hand_is_served_without_a_query(browser):
    assert browser.ask("GET", "/graphql?query=mutation", {"accept": "text/html,*/*"}) == 200
    assert browser.dagster.reached[0]["query_string"] == b""


def test_other_events_of_the_server_reach_dagster(browser):
    asyncio.run(browser.guard({"type": "lifespan"}, None, None))  # type: ignore[arg-type]

    assert browser.dagster.reached == [{"type": "lifespan"}]


# Names.


@pytest.mark.parametrize("host", ["localhost:3000", "LOCALHOST", "localhost.", "[::1]:3000", "127.0.0.1"])
def test_loopback_names_are_served(browser, host):
    assert browser.ask("GET", "/", host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "2130706433"],
)
def test_another_name_is_refused_with_the_setting_that_allows_it(browser, host):
    assert browser.ask("GET", "/", host=host) == 403
    assert "PHI_UI_HOSTS" in browser.said
    assert browser.dagster.reached == []


@pytest.mark.parametrize(
    "host", ["", "a b", "127.0.0.1/x", "user@127.0.0.1", "127.0.0.1:x", "[::1", ":3000", "127.0.0.1?x"]
)
def test_a_malformed_name_is_refused(browser, host):
    assert browser.ask("GET", "/", host=host) in (400, 403)
    assert browser.dagster.reached == []


def test_two_hosts_are_refused(browser):
    assert browser.ask("GET", "/", [("host", "evil.example")]) == 400


def test_configured_names_are_served_behind_a_proxy():
    browser = Browser(("Phi.Example",))
    origin = {"origin": "https://phi.example", "sec-fetch-site": "same-origin", "content-type": JSON}

    assert browser.ask("GET", "/", host="phi.example") == 200
    assert browser.ask("POST", "/graphql", origin, host="phi.example") == 200
    assert browser.ask("POST", "/graphql", origin) == 200  # the proxy names itself in Host
    assert browser.ask("GET", "/", host="other.example") == 403


# Pages.


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.example",
        "http://127.0.0.1:3001",
        "http://localhost:3000",
        "file://",
        f"ftp://{OWN}",
        f"http://{OWN}/x",
        "",
        "http://[",
    ],
)
@pytest.mark.parametrize("path", ["/graphql", "/report_asset_check/x"])
def test_a_page_of_another_origin_changes_nothing(browser, origin, path):
    assert browser.ask("POST", path, {"origin": origin, "content-type": JSON}) == 403
    assert browser.ask("GET", "/graphql", {"origin": origin}, kind="websocket") == 1008
    assert browser.dagster.reached == []


def test_two_origins_are_refused(browser):
    headers = [("origin", f"http://{OWN}"), ("origin", "http://evil.example"), ("content-type", JSON)]

    assert browser.ask("POST", "/graphql", headers) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "", "what-comes-next"])
def test_another_site_changes_nothing_and_reads_nothing(browser, site):
    headers = {"sec-fetch-site": site}
    assert browser.ask("POST", "/graphql", {**headers, "content-type": JSON}) == 403
    assert browser.ask("GET", "/graphql", headers, kind="websocket") == 1008
    assert browser.ask("GET", "/assets/x", {**headers, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}) == 403
    assert browser.ask("GET", "/", {**headers, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}) == 403
    assert browser.ask("POST", "/graphql", {**headers, **PAGE, "content-type": JSON}) == 403
    assert browser.dagster.reached == []


# Methods and types.


@pytest.mark.parametrize(
    "path", ["/graphql?query=mutation{wipeAssets}", "/graphql", "/graphql/", "/GraphQL?query=x", "//graphql?query=x"]
)
@pytest.mark.parametrize("accept", [{}, {"accept": "*/*"}, {"accept": "image/avif,image/webp,*/*"}])
def test_get_executes_no_query(browser, path, accept):
    assert browser.ask("GET", path, {**own_page(), **accept}) == 405
    assert browser.dagster.reached == []


def test_a_query_in_the_address_of_a_post_does_not_reach_dagster(browser):
    assert browser.ask("POST", "/graphql?query=mutation{wipeAssets}", {"content-type": JSON}) == 200
    assert browser.dagster.reached[0]["query_string"] == b""


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/plain; application/json",
        "text/plain;charset=application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json, text/plain",
        "application/json; charset=utf-7",
        "application/jsonx",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/graphql", "/report_asset_observation/x"])
def test_a_post_that_a_form_could_send_is_refused(browser, kind, path):
    assert browser.ask("POST", path, {"content-type": kind}) == 415
    assert browser.dagster.reached == []


def test_a_post_without_one_type_is_refused(browser):
    assert browser.ask("POST", "/graphql") == 415
    assert browser.ask("POST", "/graphql", [("content-type", JSON), ("content-type", "text/plain")]) == 415
    assert browser.dagster.reached == []


@pytest.mark.parametrize(
    "path", ["/report_asset_materialization/x", "/report_asset_check/x", "/report_asset_observation/x"]
)
def test_reports_are_taken_by_post_only(browser, path):
    assert browser.ask("GET", path) == 405
    assert browser.ask("POST", f"{path}?data_version=1", {"content-type": JSON}) == 200
    assert browser.dagster.reached[0]["query_string"] == b"data_version=1"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_refused(browser, method):
    assert browser.ask(method, "/graphql", {"content-type": JSON}) == 405


def test_post_is_for_queries_and_reports_only(browser):
    assert browser.ask("POST", "/notebook", {"content-type": JSON}) == 405


# Health, and what is sent back.


def test_probes_may_ask_for_the_version_by_any_name(browser):
    assert browser.ask("GET", "/server_info", {"sec-fetch-site": "cross-site"}, host="10.0.0.4:3000") == 200
    assert browser.ask("POST", "/server_info", host="10.0.0.4:3000") == 403
    assert browser.ask("GET", "/server_info/x", host="10.0.0.4:3000") == 403


def test_every_answer_forbids_frames_and_foreign_images(browser):
    browser.ask("GET", "/")
    policies = [value for name, value in browser.sent[0]["headers"] if name == b"content-security-policy"]
    assert policies[0] == b"default-src 'self'"  # Dagster's own
    assert b"img-src 'self' data: blob:" in policies[1]
    assert b"frame-ancestors 'none'" in policies[1]

    browser.ask("GET", "/", host="evil.example")
    assert (b"x-frame-options", b"DENY") in browser.sent[0]["headers"]


def test_a_refusal_is_one_line_whatever_the_name(browser):
    browser.ask("GET", "/", host="évil")
    assert browser.said.count("\n") == 1
    assert browser.said.isascii()

    assert browser.ask("HEAD", "/", host="evil.example") == 403
    assert browser.said == ""


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        ("a:1", "a"),
        ("[::1]:2", "::1"),
        ("A.", "a"),
        ("a:99999", None),
        ("a@b", None),
        ("", None),
        (":1", None),
        ("a/b", None),
    ],
)
def test_names_are_read_strictly(authority, name):
    assert host_name(authority) == name
