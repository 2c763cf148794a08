"""`phi notify --test`: does a message arrive where failures are told?"""

from phi_assets.cli.console import console
from phi_assets.notifications.messages import Message
from phi_assets.notifications.webhook import post
from phi_assets.notifications.webhook_formats import shape_of, shaped
from phi_assets.settings import Settings, SettingsError

TEST = Message(
    what="phi-assets: this is a test",
    why=("nothing failed",),
    remedy="nothing: messages of failures arrive here",
)


def send_test(settings: Settings) -> int:
    """0 when the webhook received a test message, else 1 with what it said. Raises SettingsError when there is none."""
    if settings.webhook is None:
        raise SettingsError("PHI_WEBHOOK is not set; put the webhook's address into .env (see README.md)")
    shape = shape_of(settings.webhook.get_secret_value(), settings.webhook_format)
    answer = post(settings.webhook, shaped(TEST, "", shape))
    if answer.received:
        console.print(f"received, in {shape}'s shape: status {answer.status} {answer.words}".rstrip(), markup=False)
        return 0
    came = f"status {answer.status}: {answer.words}" if answer.status else answer.words
    console.print(f"not received, in {shape}'s shape: {came}", markup=False)
    console.print("look at PHI_WEBHOOK, and at PHI_WEBHOOK_FORMAT, which is slack or teams", markup=False)
    return 1
