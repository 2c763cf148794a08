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
HISTORY = (
    "on Azure nobody but its people may read or delete a conversation: each deletes theirs in the chat's page, and "
    "what they rated goes with it"
)


class AzureFeedbackStore(LocalFeedbackStore):
    """The laptop's store over another source of ratings. It reads no conversation: nobody but its people may."""

    decides: ClassVar = {"feedback_candidates": QUEUE, "feedback_conversations": QUEUE}
    account: dict[str, str]
    role_minutes: float

    def forget(self, conversation: str | None, user: str | None, log: Log) -> Forgotten:
        keys = {
            (each.user, each.conversation)
            for each in self._rated()
            if conversation in (None, each.conversation) and user in (None, each.user)
        }
        if not keys:
            raise BackendError(f"no rated answer that may be learned is in {_whose(conversation, user)}; {HISTORY}")
        held = self._forget_ratings(keys, log)
        self._make_again(log)
        return Forgotten(len(keys), *held, history=HISTORY)

    def _rated(self) -> "list[Rated]":
        return ratings.rated(self.account, self.role_minutes)


def _whose(conversation: str | None, user: str | None) -> str:
    """Return the words for some of the chat's conversations."""
    which = "the chat" if conversation is None else f"conversation {conversation!r}"
    return which if user is None else f"{which} of {user!r}"
