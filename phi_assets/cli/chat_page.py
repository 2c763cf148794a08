"""`phi chat`: opens the chat page, or chats in the terminal."""

import json
import os
import sys
import uuid
import webbrowser
from collections.abc import Iterator

import click

from phi_assets.backends.select import build_resources
from phi_assets.cli.ask import NothingDeployed
from phi_assets.cli.console import print_text, say
from phi_assets.plain_text import plain_text
from phi_assets.ports.chat import ChatHost
from phi_assets.ports.serving import EndpointHost
from phi_assets.settings import Settings

NOT_HERE = (
    "there is no chat on Azure without PHI_AZURE_CHAT_CLIENT_ID, the app registration that people sign in with "
    "(docs/how-to/chat.md says how to make one); `phi ask` asks the deployed model"
)
NOT_YET = "there is no chat yet; `phi run` makes it"
GREETING = "Chatting with the deployed model, which may be wrong. Ctrl-D or an empty line ends it."
ANSWER_SECONDS = 300.0


def chat(settings: Settings, *, terminal: bool, base: bool, browser: bool, show_key: bool) -> int:
    """Start what does not run, and open the page, chat here, or print the link or the key. Raises NothingDeployed."""
    resources = build_resources(settings)
    host: ChatHost | None = resources.get("chat_host")
    if host is None:
        raise NothingDeployed(NOT_HERE)
    if host.status()["address"] is None:
        raise NothingDeployed(NOT_YET)
    endpoint: EndpointHost = resources["endpoint_host"]
    endpoint.start(lambda words: say("endpoint", words))
    host.start(lambda words: say("chat", words), base=base)
    address = host.status()["address"]
    if show_key:
        print_text(f"address  {address}/v1\nkey      {host.key()}\nmodel    tuned")
    elif terminal:
        _in_the_terminal(address, host.key())
    else:
        link = host.link()
        how = "by a link that opens it once, within two minutes" if settings.backend == "local" else "after signing in"
        print_text(f"the chat, {how}:\n{link}")
        if browser and has_browser():
            webbrowser.open(link)
    return 0


def has_browser() -> bool:
    """Return whether opening a browser shows it to the person: never a text browser in this terminal."""
    return sys.stdout.isatty() and (sys.platform == "darwin" or bool(os.environ.get("DISPLAY", "")))


def _in_the_terminal(address: str, key: str) -> None:
    """Ask what is typed, until an empty line or the end of the input. The conversation is kept, as the page's are."""
    conversation = f"terminal-{uuid.uuid4().hex[:12]}"
    interactive = sys.stdin.isatty()
    if interactive:
        print_text(GREETING, style="dim")
    while True:
        try:
            question = (
                click.prompt("you", prompt_suffix="> ", default="", show_default=False) if interactive else input()
            )
        except (EOFError, click.Abort):
            return
        if not question.strip():
            return
        try:
            for piece in _pieces(address, key, conversation, question):
                click.echo(plain_text(piece, lines=True), nl=False)
            click.echo()
        except KeyboardInterrupt:
            click.echo()  # the part that came is kept and marked
        except NothingDeployed as e:
            click.echo()
            print_text(str(e), error=True)


def _pieces(address: str, key: str, conversation: str, question: str) -> Iterator[str]:
    """Yield the answer as it comes. Raises NothingDeployed with what went wrong."""
    import httpx

    body = {
        "model": "tuned",
        "messages": [{"role": "user", "content": question}],
        "stream": True,
        "store": True,
        "metadata": {"conversation": conversation},
    }
    headers = {"authorization": f"Bearer {key}"}
    try:
        with (
            httpx.Client(timeout=ANSWER_SECONDS, trust_env=False) as client,
            client.stream("POST", f"{address}/v1/chat/completions", json=body, headers=headers) as answer,
        ):
            if answer.status_code != 200:
                raise NothingDeployed(json.loads(answer.read())["error"]["message"])
            for line in answer.iter_lines():
                if not line.startswith("data: {"):
                    continue
                event = json.loads(line[6:])
                if "error" in event:
                    raise NothingDeployed(event["error"]["message"])
                for choice in event["choices"]:
                    yield choice["delta"].get("content") or ""
    except httpx.HTTPError as e:
        raise NothingDeployed(f"the chat's server does not answer ({e!r}); `phi run` starts it again") from e
