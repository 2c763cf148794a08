"""What the data plane tells about an account, its databases and containers."""

from __future__ import annotations

from typing import Any

from azure_emulator.resource_manager.resource_ids import plain
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

HOST = ".documents.azure.com"


def account_at(emulator: EmulatorState, host: str) -> Resource | None:
    """Return the account of a host: `<account>.documents.azure.com` or `<account>-<region>.documents.azure.com`."""
    name = host.lower().removesuffix(HOST)
    for account in emulator.resources.of_type("Microsoft.DocumentDB/databaseAccounts"):
        own = account.body["name"].lower()
        if name in (own, f"{own}-{_region(account)}"):
            return account
    return None


def account_of(account: Resource) -> dict[str, Any]:
    here = {
        "name": _region(account),
        "databaseAccountEndpoint": f"https://{account.body['name']}-{_region(account)}{HOST}:443/",
    }
    name = f"{account.body['name']}{HOST}"
    consistency = account.properties.get("consistencyPolicy") or {"defaultConsistencyLevel": "Session"}
    return {
        "_self": "",
        "id": account.body["name"],
        "_rid": name,
        "media": "//media/",
        "addresses": "//addresses/",
        "_dbs": "//dbs/",
        "writableLocations": [here],
        "readableLocations": [here],
        "enableMultipleWriteLocations": False,
        "userReplicationPolicy": {"asyncReplication": False, "minReplicaSetSize": 3, "maxReplicasetSize": 4},
        "userConsistencyPolicy": consistency,
        "systemReplicationPolicy": {"minReplicaSetSize": 3, "maxReplicasetSize": 4},
        "readPolicy": {"primaryReadCoefficient": 1, "secondaryReadCoefficient": 1},
        "queryEngineConfiguration": "{}",
    }


def database_of(database: Resource) -> dict[str, Any]:
    return {"id": database.body["name"], "_rid": "AAAAAA==", "_self": "dbs/AAAAAA==/", "_colls": "colls/"}


def container_of(container: Resource, rid: str) -> dict[str, Any]:
    return {
        **container.properties["resource"],
        "_rid": rid,
        "_self": f"dbs/AAAAAA==/colls/{rid}/",
        "_docs": "docs/",
        "_etag": '"0"',
    }


def ranges_of(rid: str) -> dict[str, Any]:
    """One range of all keys: all data is in one physical partition."""
    whole = {
        "_rid": f"{rid}range",
        "id": "0",
        "minInclusive": "",
        "maxExclusive": "FF",
        "ridPrefix": 0,
        "throughputFraction": 1,
        "status": "online",
        "parents": [],
        "_self": f"dbs/AAAAAA==/colls/{rid}/pkranges/{rid}range/",
        "_etag": '"0"',
        "_ts": 0,
    }
    return {"_rid": rid, "PartitionKeyRanges": [whole], "_count": 1}


def _region(account: Resource) -> str:
    return plain(str(account.body["location"]))
