"""The chat's containers on the local Azure, as the template makes them, and an identity that may use them."""

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp.connector
import pytest
from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential

from azure_emulator.control import Control
from azure_emulator.identity.tokens import Tokens
from azure_emulator.process import local_azure
from azure_emulator.testing import clients
from azure_emulator.testing.requirements import azurite_or_skip
from chat_code.history_cosmos import CosmosHistory

CONTRIBUTOR = "Cosmos DB Built-in Data Contributor"
READER = "Cosmos DB Built-in Data Reader"


class Signed(AsyncTokenCredential):
    """A credential with the local Azure's tokens of one principal."""

    def __init__(self, state: Path, oid: str, audience: str = "", seconds: float = 3600) -> None:
        self._state, self._oid, self._audience, self._seconds = state, oid, audience, seconds

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        token = Tokens(self._state).issue(self._oid, self._audience or scopes[0], seconds=self._seconds)
        return AccessToken(token, int(time.time()) + 3600)

    async def close(self) -> None:
        pass

    async def __aenter__(self) -> "Signed":
        return self

    async def __aexit__(self, *error: object) -> None:
        pass


@dataclass(frozen=True)
class CosmosPlace:
    """The deployed account, and the object id of an identity with the data role on the chat's database."""

    control: Control
    account: str
    chat: str

    @property
    def url(self) -> str:
        return f"https://{self.account.rpartition('/')[2]}.documents.azure.com:443/"

    def history(self, **options: Any) -> CosmosHistory:
        """Return a history with its own client. `credential` is another identity's."""
        return CosmosHistory(self.url, options.pop("credential", self.credential()), **options)

    def credential(self, oid: str = "", **options: Any) -> Signed:
        return Signed(self.control.state, oid or self.chat, **options)

    def id(self, container: str) -> str:
        """Return the resource id of a container."""
        return f"{self.account}/sqlDatabases/chat/containers/{container}"

    def scope(self, container: str) -> str:
        """Return the scope of data roles on a container."""
        return f"{self.account}/dbs/chat/colls/{container}"

    def items(self, container: str = "conversations") -> list[dict[str, Any]]:
        return self.control.cosmos_items(self.id(container))


@contextmanager
def cosmos_at(state: Path) -> Iterator[CosmosPlace]:
    """Deploy the template on a new local Azure."""
    azurite_or_skip()
    with local_azure(state, scale=0.0) as azure, pytest.MonkeyPatch.context() as patched:
        # aiohttp reads SSL_CERT_FILE once, when it is imported.
        patched.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context())
        clients.register()
        account = clients.deploy() and clients.deploy("chat")["resources"]["chat_database"]
        chat = azure.control.new_service_principal("chat")["oid"]
        azure.control.give_role(chat, CONTRIBUTOR, f"{account}/dbs/chat")
        yield CosmosPlace(azure.control, account, chat)
