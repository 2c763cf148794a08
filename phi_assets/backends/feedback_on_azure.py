"""Feedback of the chat on Azure: ratings in Cosmos DB; the review queue and what is approved stay in this home."""

from typing import TYPE_CHECKING, ClassVar

from phi_assets.backends.azure.chat import ratings
from phi_assets.backends.local.chat.feedback_store import LocalFeedbackStore
from phi_assets.errors import BackendError
from phi_assets.ports.base import Decides, Log
from phi_assets.ports.chat import Forgotten

if TYPE_CHECKING:
    from chat_code.history import Rated

QUEUE = Decides(modules=("review_queue", "local.chat.feedback_store"))


class AzureFeedbackStore(LocalFeedbackStore):
    """The laptop's store over another source of ratings. It reads no conversation: nobody but its people may."""

    decides: ClassVar = {"feedback_candidates": QUEUE, "feedback_conversations": QUEUE}
    account: dict[str, str]
    role_minutes: float

    def forget(self, conversation: str | None, log: Log) -> Forgotten:
        del conversation, log
        raise BackendError(
            "on Azure only the person whose conversation it is can delete it, in the chat's page; its ratings leave "
            "the review queue and the training data with the next `phi run`"
        )

    def _rated(self) -> "list[Rated]":
        return ratings.rated(self.account, self.role_minutes)
