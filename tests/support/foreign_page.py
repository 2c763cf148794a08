"""A web page of another origin that tries to use Dagster's UI in the reader's browser."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

# Each attack is tried by its own, and says in document.title how it ended; a form and a frame load another page.
PAGE = """<!doctype html><title>waiting</title><body><script>
const {attack, target, query} = ARGUMENTS;
const address = target + '/graphql', body = JSON.stringify({query});
const asked = address + '?query=' + encodeURIComponent(query);
const ended = how => { document.title = 'ended: ' + how; };
const send = (address, options) => fetch(address, options).then(
    answer => answer.text().then(text => ended(answer.type + ' ' + answer.status + ' ' + text.slice(0, 200))),
    error => ended(String(error)));
const attacks = {
    'cors json': () => send(address, {method: 'POST', body, headers: {'Content-Type': 'application/json'}}),
    'no-cors json': () => send(address, {method: 'POST', mode: 'no-cors', body,
        headers: {'Content-Type': 'application/json'}}),
    'no-cors blob': () => send(address, {method: 'POST', mode: 'no-cors', body: new Blob([body])}),
    'no-cors graphql type': () => send(address, {method: 'POST', mode: 'no-cors', body: query}),
    'with credentials': () => send(address, {method: 'POST', mode: 'no-cors', credentials: 'include', body}),
    'cors get': () => send(asked, {}),
    'no-cors get': () => send(asked, {mode: 'no-cors'}),
    'keepalive': () => send(address, {method: 'POST', mode: 'no-cors', keepalive: true, body}),
    'report': () => send(target + '/report_asset_materialization/prize?metadata={}', {method: 'POST', mode: 'no-cors'}),
    'beacon': () => ended(navigator.sendBeacon(address, body)),
    'image': () => {
        const image = new Image();
        image.onload = () => ended('loaded'); image.onerror = () => ended('failed');
        image.src = asked;
    },
    'script': () => {
        const script = document.createElement('script');
        script.onload = () => ended('loaded'); script.onerror = () => ended('failed');
        script.src = asked; document.body.append(script);
    },
    'websocket': () => {
        const socket = new WebSocket(address.replace('http', 'ws'), 'graphql-ws');
        socket.onopen = () => {
            socket.send(JSON.stringify({type: 'connection_init', payload: {}}));
            socket.send(JSON.stringify({type: 'start', id: '1', payload: {query}}));
            setTimeout(() => ended('opened'), 1500);
        };
        socket.onerror = () => ended('failed');
    },
    'form': () => {  // its only field is JSON when name and value are joined with "="
        const form = document.createElement('form'), field = document.createElement('input');
        form.method = 'POST'; form.enctype = 'text/plain'; form.action = address;
        field.name = body.slice(0, -1) + ',"variables":{"a":"'; field.value = '"}}';
        form.append(field); document.body.append(form); form.submit();
    },
    'form in the address': () => {
        const form = document.createElement('form');
        form.method = 'POST'; form.action = asked;
        document.body.append(form); form.submit();
    },
    'link': () => { location = asked; },
    'frame': () => {
        const frame = document.createElement('iframe');
        frame.onload = () => ended('loaded ' + frame.contentWindow.length);
        frame.src = target + '/runs'; document.body.append(frame);
    },
};
attacks[attack]();
</script>"""
ATTACKS = [line.split("'")[1] for line in PAGE.splitlines() if line.startswith("    '")]
LEAVES = frozenset({"form", "form in the address", "link"})
"""Attacks that open the target in place of the page."""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        body = PAGE.replace("ARGUMENTS", json.dumps(asked)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def foreign_page() -> Iterator[int]:
    """Serve the page on 127.0.0.1 during the block; yields its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()
