"""Client that controls a running local Azure: sets faults, roles, quota and clock, and reads its state."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError

from azure_emulator.faults import Kind
from azure_emulator.identity.identities import SUBSCRIPTION, TENANT, USER

SUBSCRIPTION_SCOPE = f"/subscriptions/{SUBSCRIPTION}"


class ControlError(RuntimeError):
    """The local Azure refused a control command; the message is the reason."""


class Control:
    """Controls the local Azure of a state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.address = (state / "control").read_text().strip()
        # Ignores the proxy variables that the tests set.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    # Faults

    def fail_randomly(
        self,
        share: float,
        seed: int,
        kinds: Sequence[Kind] = ("429", "503", "timeout", "dropped"),
        services: Sequence[str] = ("arm", "ml", "quota", "history", "vault"),
    ) -> None:
        """Fail this share (0 to 1) of control-plane calls from now on; 0 ends it."""
        self._call("fail_randomly", share=share, seed=seed, kinds=list(kinds), services=list(services))

    def fail_next(self, match: str, kind: Kind, times: int = 1, after: int = 0) -> None:
        """Fail the next `times` calls whose `VERB service path?query` contains every word of `match`.

        The first `after` of them are answered. `fail_next("PUT /jobs/", "dropped")`: the job is submitted and the
        response lost.
        """
        self._call("fail_next", match=match, kind=kind, times=times, after=after)

    def clear_faults(self) -> None:
        """Remove all faults: of calls, what-ifs, image builds, capacity, quota verdicts, role and replica delays."""
        self._call("clear_faults")

    def what_if_hangs(self, hangs: bool = True) -> None:
        """Let what-ifs that start from now on never end: their result stays 202 without a body."""
        self._call("what_if_hangs", hangs=hangs)

    def hold_seconds(self, seconds: float) -> None:
        """Set how long a call with the fault `timeout` or `slow` is held."""
        self._call("hold_seconds", seconds=seconds)

    def scale(self, scale: float) -> None:
        """Set the factor of all waits. 1: a workspace takes 3 s; 0: everything is instant."""
        self._call("scale", scale=scale)

    # Requests

    def requests(
        self,
        service: str | None = None,
        verb: str | None = None,
        identity: str | None = None,
        match: str | None = None,
        writes_only: bool = False,
    ) -> list[dict[str, Any]]:
        """Return the matching requests, oldest first.

        Each has service (arm, ml, quota, entra, vault, history, blob, cosmos), verb, path, query, identity, status
        (0: no response was sent), fault, at and writes.
        """
        return self._call(
            "requests", service=service, verb=verb, identity=identity, match=match, writes_only=writes_only
        )

    def forget_requests(self) -> None:
        """Clear the request log."""
        self._call("forget_requests")

    # Roles and sign-in

    def give_role(
        self, oid: str = USER, role: str = "Owner", scope: str = SUBSCRIPTION_SCOPE, delay: float | None = None
    ) -> str:
        """Assign a built-in role by name. Return the assignment's id."""
        return self._call("give_role", oid=oid, role=role, scope=scope, delay=delay)

    def take_role(self, id: str) -> bool:
        """Delete the assignment at once. Return whether it existed."""
        return self._call("take_role", id=id)

    def roles(self, oid: str | None = None) -> list[dict[str, Any]]:
        """Return all assignments, or those of one principal: id, oid, role, scope."""
        return self._call("roles", oid=oid)

    def role_delay(self, seconds: float) -> None:
        """Set the propagation delay of roles that are assigned from now on."""
        self._call("role_delay", seconds=seconds)

    def new_service_principal(self, name: str) -> dict[str, str]:
        """Create a principal without any role. Return its oid, client_id and secret."""
        return self._call("new_service_principal", name=name)

    def sign_in(self, state: Literal["signed_in", "signed_out", "expired"] = "signed_in", **login: Any) -> None:
        """Set the login that the stub `az` reports; other fields are those of `az_login.Login`."""
        self._call("sign_in", state=state, **login)

    # Quota, providers, names

    def set_quota(self, family: str, vcpus: int) -> None:
        """Set Azure ML's limit in all regions: a family (`standardNCADSA100v4Family`) or of `TotalDedicatedCores`."""
        self._call("set_quota", family=family, vcpus=vcpus)

    def quota_verdict(self, verdict: Literal["grant", "refuse", "wait"]) -> None:
        """Set the result of quota requests from now on."""
        self._call("quota_verdict", verdict=verdict)

    def set_provider(self, namespace: str, state: Literal["Registered", "NotRegistered", "Registering"]) -> None:
        self._call("set_provider", namespace=namespace, state=state)

    def provider(self, namespace: str) -> str:
        return self._call("provider", namespace=namespace)

    def take_name(self, name: str) -> None:
        """Reserve a global name (storage, Cosmos DB, endpoint ...) as if another tenant owned it."""
        self._call("take_name", name=name)

    def soft_delete_vault(self, name: str) -> None:
        """Add a soft-deleted vault of that name that was in another resource group."""
        self._call("soft_delete_vault", name=name)

    def soft_deleted(self) -> list[str]:
        """Return the ids of soft-deleted vaults and workspaces."""
        return self._call("soft_deleted")

    def subscription_state(self, state: Literal["Enabled", "Disabled", "Warned", "PastDue"]) -> None:
        self._call("subscription_state", state=state)

    def subscription_tenant(self, tenant: str = TENANT) -> None:
        """Set the tenant that the subscription trusts; all tokens are of TENANT."""
        self._call("subscription_tenant", tenant=tenant)

    def size_unavailable(self, vm_size: str, unavailable: bool = True) -> None:
        """Stop (or resume) offering the VM size in the region."""
        self._call("size_unavailable", vm_size=vm_size, unavailable=unavailable)

    # Resources

    def resource(self, id: str) -> dict[str, Any] | None:
        """Return the live resource, without a logged request."""
        return self._call("resource", id=id)

    def resources(self, type: str | None = None, under: str = "") -> list[dict[str, Any]]:
        """Return all live resources, or those of a type, or those of a type below an id."""
        return self._call("resources", type=type, under=under)

    def change(self, id: str, **properties: Any) -> dict[str, Any]:
        """Cause drift: change properties without a deployment."""
        return self._call("change", id=id, properties=properties)

    def plant(self, id: str, body: dict[str, Any], hidden: dict[str, Any] | None = None) -> None:
        """Insert a resource without checks; nothing is started for it."""
        self._call("plant", id=id, body=body, hidden=hidden or {})

    def delete(self, id: str) -> bool:
        """Cause drift: delete the resource and everything below it. Return whether it existed."""
        return self._call("delete", id=id)

    # Cosmos DB

    def cosmos_items(self, container: str) -> list[dict[str, Any]]:
        """Return the items of a container, given by its resource id, that have not expired."""
        return self._call("cosmos_items", container=container)

    def cosmos_empty(self) -> None:
        """Delete the items of all containers."""
        self._call("cosmos_empty")

    def cosmos_advance(self, seconds: float) -> None:
        """Move the clock by which items expire."""
        self._call("cosmos_advance", seconds=seconds)

    def cosmos_lags(self, lags: bool = True) -> None:
        """Let reads answer from a replica that is 20 writes behind, or as far as the session token demands."""
        self._call("cosmos_lags", lags=lags)

    # Compute and jobs

    def capacity(self, available: bool) -> None:
        """Set whether clusters get new nodes."""
        self._call("capacity", available=available)

    def image_builds_fail(self, fail: bool = True) -> None:
        """Let builds of images that are not built yet fail."""
        self._call("image_builds_fail", fail=fail)

    def executed_jobs(self) -> list[str]:
        """Return the names of the jobs whose command was started, in order."""
        return self._call("executed_jobs")

    def job_history(self, name: str) -> list[str]:
        """Return every status that the job had, in order; of two jobs of one name, the one submitted last."""
        return self._call("job_history", name=name)

    def lose_node(self, name: str, comes_back: bool = True) -> None:
        """Remove the job's node; with `comes_back`, Azure ML runs the command again on another node."""
        self._call("lose_node", name=name, comes_back=comes_back)

    def fail_job(self, name: str) -> None:
        """Kill the running job's command, so that the job fails."""
        self._call("fail_job", name=name)

    # Endpoints

    def deployment_fault(
        self,
        kind: Literal["never_ready", "crash", "wrong_answer", "slow"],
        deployment: str | None = None,
        *,
        seconds: float = 0.0,
        after_requests: int | None = None,
        routed_only: bool = False,
        text: str = "",
    ) -> None:
        """Set a fault of the named deployment, live or future; without a name, of the next new deployment.

        `crash` ends the container for good, as in a crash loop: `seconds` real seconds after it is ready, or instead of
        the response after `after_requests` responses; `routed_only` does not count pinned requests.
        `wrong_answer` responds 200 with `text` for every text. `slow` takes `seconds` scaled seconds longer.
        """
        self._call(
            "deployment_fault",
            kind=kind,
            deployment=deployment,
            seconds=seconds,
            after_requests=after_requests,
            routed_only=routed_only,
            text=text,
        )

    def container_patience(self, seconds: float) -> None:
        """Set the minimum real seconds that a container has to get ready, whatever the scale makes of its probes."""
        self._call("container_patience", seconds=seconds)

    def scoring_counts(self, endpoint: str) -> dict[str, dict[str, int]]:
        """Return the number of requests by deployment and status; "" counts those that reached no deployment."""
        return self._call("scoring_counts", endpoint=endpoint)

    def traffic_history(self, endpoint: str) -> list[dict[str, int]]:
        """Return every traffic split that the endpoint had, in order; the first is empty."""
        return self._call("traffic_history", endpoint=endpoint)

    def endpoint_history(self, id: str) -> list[str]:
        """Return every provisioning state of the endpoint or deployment, in order."""
        return self._call("endpoint_history", id=id)

    def rotate_keys(self, endpoint: str, primary: str | None = None) -> None:
        """Replace both keys without a request; `primary` sets the primary key."""
        self._call("rotate_keys", endpoint=endpoint, primary=primary)

    def containers(self) -> list[dict[str, Any]]:
        """Return the running containers: endpoint, deployment and pid."""
        return self._call("containers")

    def storage_key(self, account: str, key: str | None = None) -> str:
        """Return the account's first key, after setting it to `key` if given."""
        return self._call("storage_key", account=account, key=key)

    def ping(self) -> str:
        return self._call("ping")

    def _call(self, command: str, **arguments: Any) -> Any:
        request = urllib.request.Request(f"{self.address}/{command}", json.dumps(arguments).encode(), method="POST")
        try:
            with self._opener.open(request, timeout=60) as response:
                return json.load(response)["result"]
        except HTTPError as e:
            raise ControlError(f"{command}: {json.load(e).get('error')}") from e
