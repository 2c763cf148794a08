"""`phi review` and `phi forget`: what people let the model learn from the chat, and what they take back."""

import webbrowser

import click

from phi_assets.backends.select import build_resources
from phi_assets.cli.ask import NothingDeployed
from phi_assets.cli.chat_page import NOT_HERE, has_browser
from phi_assets.cli.console import print_text, say
from phi_assets.ports.chat import FeedbackStore
from phi_assets.settings import Settings


def review(settings: Settings, *, browser: bool) -> int:
    """Start MLflow's page, and open or print its address. Raises NothingDeployed or BackendError."""
    store = _store(settings)
    address = store.review_page(lambda words: say("review", words))
    print_text(f"approve, reject or correct answers of the chat here; `phi run` makes data of them:\n{address}")
    if browser and has_browser():
        webbrowser.open(address)
    return 0


def forget(settings: Settings, conversation: str | None, user: str | None, *, yes: bool) -> int:
    """Delete conversations, of one id and of one person or of all, and print what still holds their words.

    Returns 1 when the person declines. Raises NothingDeployed or BackendError.
    """
    store = _store(settings)
    what = "every conversation of the chat" if conversation is None else f"conversation {conversation}"
    if user is not None:
        what = f"{what} of {user}"
    if not yes and not click.confirm(f"delete {what} for good?"):
        return 1
    found = store.forget(conversation, user, lambda words: say("forget", words))
    places = "the review queue and the conversations to learn from; later datasets are without it"
    if found.history:
        print_text(f"forgotten {found.conversations}: deleted from {places}\n{found.history}")
    else:
        print_text(f"deleted {found.conversations}: from the history, {places}")
    for kind, names, how in (
        (
            "dataset versions",
            found.datasets,
            "`phi clean` removes them when nothing needs them",
        ),
        ("models that were trained on them", found.models, "the next training is without it"),
        ("copies of databases", found.copies, "delete these files, and make new copies with `phi backup`"),
    ):
        if names:
            print_text(f"its words are still in {len(names)} {kind}; {how}:")
            for name in names:
                print_text(name, indent=2)
    return 0


def _store(settings: Settings) -> FeedbackStore:
    store: FeedbackStore | None = build_resources(settings).get("feedback_store")
    if store is None:
        raise NothingDeployed(NOT_HERE)
    return store
