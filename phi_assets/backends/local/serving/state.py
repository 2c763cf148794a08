"""The desired state of an endpoint on this machine: a file that the router reads and deployments write."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from phi_assets.files import DamagedFile, atomic_write, read_json

HOST = "127.0.0.1"
COLOURS = ("blue", "green")
MEND = "`phi down`, move its folder away, then `phi run`; the endpoint gets a new address and key"


@dataclass(frozen=True)
class DeploymentState:
    """One server behind the endpoint: its model, code version and port; `form` of its weights: full, int8 or int4."""

    name: str
    model_dir: str
    model_name: str
    model_version: str
    model_digest: str
    code_digest: str
    port: int
    form: str = "full"

    def serves(self, other: "DeploymentState") -> bool:
        """Return whether both serve the same model with the same code."""
        return replace(self, name="", port=0) == replace(other, name="", port=0)


@dataclass(frozen=True)
class EndpointState:
    """The stable port, the deployments by name, and their shares of the traffic in per cent (100 in all, or none)."""

    name: str
    port: int
    router_digest: str
    deployments: Mapping[str, DeploymentState] = field(default_factory=lambda: MappingProxyType({}))
    traffic: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        unknown = set(self.traffic) - set(self.deployments)
        if unknown:
            raise ValueError(f"traffic names {', '.join(sorted(unknown))}, which is no deployment of {self.name}")
        if sum(self.traffic.values()) not in (0, 100) or any(share < 0 for share in self.traffic.values()):
            raise ValueError(f"traffic shares are {dict(self.traffic)}; give shares of 0 or more that add to 0 or 100")

    @property
    def address(self) -> str:
        """The base URL for clients."""
        return f"http://{HOST}:{self.port}"

    def live(self) -> DeploymentState | None:
        """Return the deployment with the most traffic; None when nothing is deployed."""
        shares = [(share, name) for name, share in self.traffic.items() if share]
        return self.deployments[max(shares)[1]] if shares else None

    def with_deployment(self, deployment: DeploymentState) -> "EndpointState":
        """Return the state with this deployment added or changed; the traffic is unchanged."""
        return replace(self, deployments={**self.deployments, deployment.name: deployment})

    def without(self, name: str) -> "EndpointState":
        """Return the state without this deployment, which must have no traffic."""
        return replace(
            self,
            deployments={key: value for key, value in self.deployments.items() if key != name},
            traffic={key: share for key, share in self.traffic.items() if key != name},
        )

    def with_traffic(self, traffic: Mapping[str, int]) -> "EndpointState":
        """Return the state with these shares."""
        return replace(self, traffic={name: share for name, share in traffic.items() if share})


def read_state(file: Path) -> EndpointState | None:
    """Return the recorded state; None when there is none. Raises DamagedFile."""
    try:
        raw = read_json(file, MEND)
        deployments = {name: DeploymentState(**value) for name, value in raw.pop("deployments").items()}
        return EndpointState(**raw, deployments=deployments)
    except FileNotFoundError:
        return None
    except DamagedFile:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise DamagedFile(file, f"it holds no state of an endpoint, {type(e).__name__}: {e}", MEND) from e


def write_state(file: Path, state: EndpointState) -> None:
    """Write the state atomically: a reader sees the old one or the new one."""
    value = {**asdict(replace(state, deployments={}, traffic={})), "traffic": dict(state.traffic)}
    value["deployments"] = {name: asdict(deployment) for name, deployment in state.deployments.items()}
    atomic_write(file, json.dumps(value, indent=2) + "\n")
