"""The state of an online endpoint: its authentication mode, its deployments, and their shares of the traffic."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from phi_assets.backends.azure.client import rest

ENDED = frozenset({"Succeeded", "Failed", "Canceled"})
AUTH = {"key": "Key", "aad_token": "AADToken"}
# The endpoint's tag with the name of the deployment that last passed the test with all the traffic.
PROVEN = "phi-proven"


@dataclass(frozen=True)
class DeploymentState:
    """A deployment as Azure returns it, with its VM size and instances; `facts` are its tags and its properties."""

    name: str
    state: str
    facts: Mapping[str, str]
    vm_size: str = ""
    instances: int = 1

    @property
    def serves(self) -> bool:
        return self.state == "Succeeded"


@dataclass(frozen=True)
class EndpointState:
    """An endpoint as Azure returns it, with its deployments and their shares of the traffic in per cent."""

    state: str
    auth: str
    tags: Mapping[str, str]
    address: str
    traffic: Mapping[str, int] = field(default_factory=dict[str, int])
    deployments: Mapping[str, DeploymentState] = field(default_factory=dict[str, DeploymentState])

    @property
    def at_rest(self) -> bool:
        """Whether no write is in progress."""
        return self.state in ENDED and all(each.state in ENDED for each in self.deployments.values())

    @property
    def doing(self) -> str:
        """A phrase that lists the writes in progress."""
        doing = {"the endpoint": self.state} if self.state not in ENDED else {}
        doing |= {name: each.state for name, each in self.deployments.items() if each.state not in ENDED}
        return ", ".join(f"{name} is {state}" for name, state in doing.items())

    @property
    def busiest(self) -> DeploymentState | None:
        """The deployment with the most traffic, in any state."""
        shares = [(share, name) for name, share in self.traffic.items() if share and name in self.deployments]
        return self.deployments[max(shares)[1]] if shares else None

    @property
    def live(self) -> DeploymentState | None:
        """The deployment with the most traffic, if it serves."""
        found = self.busiest
        return found if found and found.serves else None

    @property
    def proven(self) -> DeploymentState | None:
        """The deployment that was proven last, if it exists and serves or has traffic."""
        found = self.deployments.get(self.tags.get(PROVEN, ""))
        return found if found and (found.serves or self.traffic.get(found.name)) else None

    def alone(self, name: str) -> bool:
        """Whether this deployment serves with all the traffic and is the only one."""
        found = self.deployments.get(name)
        return found is not None and found.serves and len(self.deployments) == 1 and self.traffic == {name: 100}


NOTHING = EndpointState(state="", auth="", tags={}, address="")


def state_of(found: Mapping[str, Any], rows: list[dict[str, Any]]) -> EndpointState:
    """The state from the endpoint's body and those of its deployments."""
    of = rest.properties(found)
    auth = {mode.lower(): name for name, mode in AUTH.items()}
    place = urlsplit(str(of.get("scoringUri") or ""))
    deployments = [_deployment(row) for row in rows]
    return EndpointState(
        state=str(of.get("provisioningState")),
        auth=auth.get(str(of.get("authMode")).lower(), str(of.get("authMode"))),
        tags=found.get("tags") or {},
        address=f"{place.scheme}://{place.netloc}" if place.netloc else "",
        traffic={name: share for name, share in (of.get("traffic") or {}).items() if share},
        deployments={each.name: each for each in deployments},
    )


def _deployment(row: Mapping[str, Any]) -> DeploymentState:
    of = rest.properties(row)
    facts = {**(of.get("properties") or {}), **(row.get("tags") or {})}
    instances = int((row.get("sku") or {}).get("capacity") or 1)
    size = str(of.get("instanceType") or "")
    return DeploymentState(str(row["name"]), str(of.get("provisioningState")), facts, size, instances)
