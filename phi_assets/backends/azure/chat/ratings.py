"""Ratings of the chat in Cosmos DB: the container `feedback`, which is all that the pipeline may read of the chat."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.client.credential import Credential
from phi_assets.backends.azure.client.outputs import CHAT
from phi_assets.errors import BackendError

if TYPE_CHECKING:
    from chat_code.history import Rated

PAUSE_SECONDS = 5.0
LACKS_ROLE = "data role"  # in the words of chat_code.cosmos_container


def rated(account: Mapping[str, str], role_minutes: float) -> "list[Rated]":
    """Return the consented ratings; none before the deployment. Raises BackendError."""
    from chat_code.errors import HistoryUnavailable

    of, began = clients(account), time.monotonic()
    found = of.outputs(CHAT)
    if found is None:
        return []
    url = f"https://{found.resources['chat_database'].rpartition('/')[2]}.documents.azure.com:443/"
    while True:
        try:
            return asyncio.run(_read(url, of.credential()))
        except HistoryUnavailable as e:
            if LACKS_ROLE not in e.message or time.monotonic() - began > role_minutes * 60:
                raise BackendError(
                    f"the ratings of the chat cannot be read: {e.message}; materialise chat_environment, which gives "
                    "the role, and run again"
                ) from e
            time.sleep(PAUSE_SECONDS)


async def _read(url: str, credential: Credential) -> "list[Rated]":
    from chat_code.history_cosmos import CosmosHistory

    history = CosmosHistory(url, _Shared(credential))  # type: ignore[arg-type]
    try:
        return [each async for each in history.rated()]
    finally:
        await history.close()


class _Shared:
    """The shared credential, as azure.cosmos.aio asks it."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        del options
        from azure.core.credentials import AccessToken

        info = await asyncio.to_thread(self._credential.get_token_info, *scopes)
        return AccessToken(info.token, info.expires_on)

    async def close(self) -> None:
        """Do nothing: others use it too."""

    async def __aenter__(self) -> "_Shared":
        return self

    async def __aexit__(self, *error: object) -> None:
        pass
