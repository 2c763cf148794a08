"""`python -m chat_code --history FILE --endpoint URL`: serve the chat until stopped.

On Azure `--cosmos URL --tenant ID` take the place of the file and of the secret link."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

ENDPOINT_SCOPE = "https://ml.azure.com/.default"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
EXPLAINED = (
    "Serve a chat over a model's endpoint. Secrets come from the environment: CHAT_SECRET signs the owner's links and "
    "cookie, CHAT_ENDPOINT_KEY and CHAT_BASE_KEY are the endpoints' bearer keys. In a container, which has no files of "
    "its own, so do CHAT_FACTS, CHAT_SYSTEM_PROMPT and CHAT_WORDS: the texts of the files that the options name."
)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit status."""
    # A shell's background job inherits ignored signals, and could then not be stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(0o077)
    options = _parser().parse_args(arguments)
    from chat_code.logs import log_to_stderr
    from chat_code.server import build_app, serve

    log_to_stderr()
    try:
        chat = _chat(options)
        listener = _listener(options)
        port = listener.getsockname()[1]
        app = build_app(chat, _who(options, port), _hosts(options, port), options.keep_days)
    except (OSError, ValueError) as e:
        print(f"chat_code: {e}", file=sys.stderr)
        return 2
    serve(app, listener)
    return 0


def _chat(options: argparse.Namespace):
    from chat_code.endpoint import Endpoint, Sampling, chat_url
    from chat_code.limits import Limits
    from chat_code.lineage import Lineage
    from chat_code.models import BASE, TUNED, Facts
    from chat_code.service import Chat
    from chat_code.tracing import tracing_to
    from chat_code.turn import TurnSettings

    facts = Facts(options.facts or _file("CHAT_FACTS"))
    tracing = tracing_to(options.traces, content=options.trace_content)
    endpoints = {TUNED: Endpoint(options.endpoint, _endpoint_key(options), facts.complete, tracing=tracing)}
    if options.base_endpoint:
        base_key = os.environ.get("CHAT_BASE_KEY", "")
        endpoints[BASE] = Endpoint(options.base_endpoint, lambda: base_key, tracing=tracing)
    for endpoint in endpoints.values():
        chat_url(endpoint.url)
    system_prompt = options.system_prompt or _file("CHAT_SYSTEM_PROMPT")
    prompt = system_prompt.read_text(encoding="utf-8").strip() if system_prompt else ""
    settings = TurnSettings(prompt, Sampling(options.max_tokens, options.temperature), _filter(options))
    limits = Limits(options.answers, options.day_requests, options.day_tokens)
    lineage = Lineage(options.why) if options.why else None
    return Chat(_history(options), endpoints, settings, limits, facts, lineage)


def _history(options: argparse.Namespace):
    if options.cosmos:
        from azure.identity.aio import ManagedIdentityCredential

        from chat_code.history_cosmos import CosmosHistory

        if not options.tenant:
            raise ValueError("--cosmos holds conversations of many people: --tenant must say whose sign-in is trusted")
        return CosmosHistory(
            options.cosmos, ManagedIdentityCredential(client_id=_identity()), keep_days=options.keep_days
        )
    if options.history is None:
        raise ValueError("--history FILE or --cosmos URL says where conversations are kept")
    from chat_code.history_sqlite import SqliteHistory

    return SqliteHistory(options.history)


def _endpoint_key(options: argparse.Namespace):
    """Return what gives the endpoint's bearer credential: its key, or a token of the container's identity."""
    if not options.endpoint_token:
        key = os.environ.get("CHAT_ENDPOINT_KEY", "")
        return lambda: key
    from azure.identity import ManagedIdentityCredential

    credential = ManagedIdentityCredential(client_id=_identity())
    return lambda: credential.get_token(ENDPOINT_SCOPE).token


def _identity() -> str | None:
    return os.environ.get("AZURE_CLIENT_ID")


def _file(variable: str) -> Path | None:
    """Return a file with the variable's text; None where it is not set."""
    text = os.environ.get(variable)
    if not text:
        return None
    descriptor, name = tempfile.mkstemp(prefix="chat-")
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)


def _filter(options: argparse.Namespace):
    from chat_code.content_filter import AllOf, ContentFilter, NoFilter, WordList

    filters: list[ContentFilter] = []
    if words := options.words or _file("CHAT_WORDS"):
        filters.append(WordList(words))
    if options.content_safety:
        from chat_code.content_safety import ContentSafety, entra_token

        token = entra_token(_identity())
        filters.append(ContentSafety(options.content_safety, token, options.content_safety_severity))
    return AllOf(filters) if filters else NoFilter()


def _who(options: argparse.Namespace, port: int):
    from chat_code.who import OwnerOfThisMachine, SignedInByContainerApps

    if options.tenant:
        return SignedInByContainerApps(options.tenant)
    secret = os.environ.get("CHAT_SECRET", "")
    if len(secret) < 32:
        raise ValueError("CHAT_SECRET must have at least 32 characters; or give --tenant behind Azure's sign-in")
    return OwnerOfThisMachine(secret, port)


def _hosts(options: argparse.Namespace, port: int) -> list[str]:
    if options.tenant:
        return options.hosts  # Container Apps routes by the host's name already
    return [*(f"{host}:{port}" for host in LOOPBACK), *options.hosts]


def _listener(options: argparse.Namespace) -> socket.socket:
    if options.listen_fd is not None:
        return socket.socket(fileno=options.listen_fd)
    return socket.create_server((options.host, options.port), backlog=1024)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chat_code", description=EXPLAINED, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--history", type=Path, default=None, help="SQLite file of the conversations")
    add("--cosmos", default="", help="address of the Cosmos DB account of the conversations, on Azure")
    add("--endpoint", required=True, help="address of the fine-tuned model's endpoint")
    add("--endpoint-token", action="store_true", help="ask the endpoint with an Entra token of the managed identity")
    add("--base-endpoint", default="", help="address of the base model's endpoint, to compare")
    add("--facts", type=Path, default=None, help="JSON file of what is known of the model's versions")
    add("--why", type=json.loads, default=None, help="JSON list: a command that tells where an answer is from")
    add("--system-prompt", type=Path, default=None, help="file whose text begins every conversation")
    add("--words", type=Path, default=None, help="file of words that may not be said, one a line")
    add("--content-safety", default="", help="address of an Azure AI Content Safety resource, which is asked too")
    add("--content-safety-severity", type=int, default=4, help="from which severity it refuses: 2, 4 or 6")
    add("--max-tokens", type=int, default=512, help="longest answer")
    add("--temperature", type=float, default=0.0, help="0: the same question gets the same answer")
    add("--answers", type=int, default=4, help="answers generated at once")
    add("--day-requests", type=int, default=0, help="questions a day of one person; 0: any number")
    add("--day-tokens", type=int, default=0, help="tokens a day of one person; 0: any number")
    add("--keep-days", type=float, default=0, help="days after which a conversation is deleted; 0: never")
    add("--traces", default="", help="where traces go: an address that takes OTLP over HTTP, or azure")
    add("--trace-content", action="store_true", help="traces hold questions and answers too")
    add("--tenant", default="", help="Azure's tenant: people are signed in by Container Apps")
    add("--hosts", nargs="*", default=[], help="more names by which browsers reach it")
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=8090, help="port; 0 takes a free one")
    add("--listen-fd", type=int, default=None, help="file descriptor of a socket that already listens")
    return parser


if __name__ == "__main__":
    sys.exit(main())
