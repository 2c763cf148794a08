"""The proxy sends Azure's host names to loopback and refuses all others."""

import asyncio
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from azure_emulator import proxy
from azure_emulator.identity import certificates


class ProxyAndServer:
    """A proxy in a thread, in front of an HTTPS server that responds with the requested host."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[tuple[str, int | None]] = []
        self.certificates = certificates.make(folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), EchoHost)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificates.chain, self.certificates.key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        rules = [("*.blob.core.windows.net", self.server.server_port), ("management.azure.com", 1)]
        serving = proxy.serve(rules, on_connect=lambda host, port: self.heard.append((host, port)))
        self.proxy = asyncio.run_coroutine_threadsafe(serving, self.loop).result()
        trust = ssl.create_default_context(cafile=str(self.certificates.authority))
        self.client = httpx.Client(proxy=f"http://127.0.0.1:{proxy.port_of(self.proxy)}", verify=trust, trust_env=False)

    def close(self) -> None:
        self.client.close()
        self.server.shutdown()
        self.server.server_close()

        async def end() -> None:
            self.proxy.close()
            await asyncio.sleep(0.1)  # the tunnels notice that both their ends are gone

        asyncio.run_coroutine_threadsafe(end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class EchoHost(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.headers["Host"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyAndServer]:
    made = ProxyAndServer(tmp_path_factory.mktemp("proxy"))
    yield made
    made.close()


def test_a_known_host_is_reached_over_verified_https(proxied: ProxyAndServer) -> None:
    assert proxied.client.get("https://anaccount.blob.core.windows.net/x").text == "anaccount.blob.core.windows.net"


@pytest.mark.parametrize(
    "address", ["https://pypi.org/", "https://127.0.0.1:22/", "https://blob.core.windows.net.evil/"]
)
def test_every_other_host_is_refused(proxied: ProxyAndServer, address: str) -> None:
    with pytest.raises(httpx.ProxyError, match="403"):
        proxied.client.get(address)
    assert proxied.heard[-1][1] is None


def test_plain_http_is_refused_too(proxied: ProxyAndServer) -> None:
    assert proxied.client.get("http://anaccount.blob.core.windows.net/x").status_code == 403


def test_a_service_that_is_down_ends_the_connection(proxied: ProxyAndServer) -> None:
    with pytest.raises(httpx.HTTPError):
        proxied.client.get("https://management.azure.com/")
    assert proxied.heard[-1] == ("management.azure.com", 1)


@pytest.mark.parametrize(
    "host",
    ["login.microsoftonline.com", "x.vault.azure.net", "e.eastus2.inference.ml.azure.com", "eastus2.api.azureml.ms"],
)
def test_the_certificate_holds_for_each_kind_of_host(proxied: ProxyAndServer, host: str) -> None:
    trust = ssl.create_default_context(cafile=str(proxied.certificates.authority))
    server, client = ssl.MemoryBIO(), ssl.MemoryBIO()
    answering = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    answering.load_cert_chain(proxied.certificates.chain, proxied.certificates.key)
    far = answering.wrap_bio(server, client, server_side=True)
    near = trust.wrap_bio(client, server, server_hostname=host)
    for _ in range(3):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert near.getpeercert()


def test_the_key_is_readable_by_its_owner_only(proxied: ProxyAndServer) -> None:
    assert proxied.certificates.key.stat().st_mode & 0o077 == 0
