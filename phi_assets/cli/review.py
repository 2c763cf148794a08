"""`phi review`: opens the page where people decide what is learned from the chat."""

import webbrowser

from phi_assets.backends.select import build_resources
from phi_assets.cli.ask import NothingDeployed
from phi_assets.cli.chat import NOT_HERE, has_browser
from phi_assets.cli.console import print_text, say
from phi_assets.ports.chat import FeedbackStore
from phi_assets.settings import Settings


def review(settings: Settings, *, browser: bool) -> int:
    """Start MLflow's page, and open or print its address. Raises NothingDeployed or BackendError."""
    store: FeedbackStore | None = build_resources(settings).get("feedback_store")
    if store is None:
        raise NothingDeployed(NOT_HERE)
    address = store.review_page(lambda words: say("review", words))
    print_text(f"approve, reject or correct answers of the chat here; `phi run` makes data of them:\n{address}")
    if browser and has_browser():
        webbrowser.open(address)
    return 0
