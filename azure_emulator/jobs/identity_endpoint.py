"""The managed identity endpoint of an Azure ML node, as `azure.identity`'s AzureMLCredential reads it.

Container apps ask the same server in the form of version 2019-08-01: `client_id`, and the secret in X-IDENTITY-HEADER.

Azure ML follows App Service's version 2017-09-01, with the parameter spelt `clientid`, and refuses a request without
it: azure-sdk-for-python#30427 and #31071, which shows the response.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

IssueToken = Callable[[str, str, str | None, float], str]  # (object id, resource, client id, seconds)
NO_IDENTITY = "InternalError - :{\nInfo: Request failure status code: 404\n\n}"


class IdentityEndpoint:
    """One loopback server for all jobs; each job's secret gives tokens of its own identity only."""

    def __init__(self, issue_token: IssueToken, token_seconds: float = 3600) -> None:
        self._issue = issue_token
        self.token_seconds = token_seconds
        self._open: dict[str, tuple[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="identity-endpoint", daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/MSI/token"

    def open(self, oid: str, client_id: str) -> str:
        """Return a new secret that gives tokens of the identity until `shut`."""
        secret = secrets.token_hex(16)
        self._open[secret] = (oid, client_id)
        return secret

    def shut(self, secret: str) -> None:
        self._open.pop(secret, None)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, secret: str, query: str) -> tuple[int, str, str]:
        """Return status, content type and body for a request with the secret."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        if secret not in self._open:
            return 401, "text/plain; charset=utf-8", "Unauthorized: the secret header does not fit"
        oid, client_id = self._open[secret]
        if asked.get("clientid", asked.get("client_id", "")).lower() != client_id.lower():
            return 404, "text/plain; charset=utf-8", NO_IDENTITY
        resource = asked.get("resource", "")
        token = {
            "access_token": self._issue(oid, resource, client_id, self.token_seconds),
            "client_id": client_id,
            "expires_on": str(int(time.time() + self.token_seconds)),
            "resource": resource,
            "token_type": "Bearer",
        }
        return 200, "application/json", json.dumps(token)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, body = endpoint.answer(
                    self.headers.get("secret") or self.headers.get("X-IDENTITY-HEADER", ""), urlsplit(self.path).query
                )
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        return Handler
