"""`phi notify --test`: sends a test message to the webhook that receives failures."""

from phi_assets.cli.console import print_text
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
    """Return 0 when the webhook received a test message, else 1 after printing its response. Raises SettingsError."""
    if settings.webhook is None:
        raise SettingsError("PHI_WEBHOOK is not set; put the webhook's address into .env, then try again")
    shape = shape_of(settings.webhook.get_secret_value(), settings.webhook_format)
    answer = post(settings.webhook, shaped(TEST, "", shape))
    if answer.received:
        print_text(f"received, in {shape}'s shape: status {answer.status} {answer.words}".rstrip())
        return 0
    response = f"status {answer.status}: {answer.words}" if answer.status else answer.words
    print_text(f"not received, in {shape}'s shape: {response}")
    print_text("check PHI_WEBHOOK, and PHI_WEBHOOK_FORMAT, which is slack or teams")
    return 1
