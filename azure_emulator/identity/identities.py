"""The fixed ids of the local Azure, and its directory of principals."""

import threading
import time
import uuid
from dataclasses import dataclass, field

TENANT = "11111111-1111-1111-1111-111111111111"
SUBSCRIPTION = "00000000-0000-0000-0000-0000000000aa"
USER = "22222222-2222-2222-2222-222222222222"
AZURE_CLI_APP = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"  # the Azure CLI's public client id, the same for everyone
LOCATION = "eastus2"
NAME = "phi-local"


@dataclass(frozen=True)
class Principal:
    """A user or a service principal; managed identities are service principals with a client id."""

    oid: str
    kind: str
    name: str
    client_id: str | None = None
    made: float = field(default_factory=time.monotonic)


class Directory:
    """The tenant's principals."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._principals = {USER: Principal(USER, "User", "person@example.org", made=float("-inf"))}

    def new_identity(self, name: str) -> Principal:
        """Create a service principal with new object and client ids."""
        principal = Principal(str(uuid.uuid4()), "ServicePrincipal", name, str(uuid.uuid4()))
        with self._lock:
            self._principals[principal.oid] = principal
        return principal

    def find(self, oid: str) -> Principal | None:
        with self._lock:
            return self._principals.get(oid.lower())

    def by_client_id(self, client_id: str) -> Principal | None:
        with self._lock:
            return next((p for p in self._principals.values() if p.client_id == client_id.lower()), None)
