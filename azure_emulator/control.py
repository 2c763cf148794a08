"""The tests' client for the local Azure: faults, roles, quota and job faults on demand, and what really happened."""

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
    """The local Azure refused a command; the message is its reason."""


class Control:
    """A running local Azure, by its state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.address = (state / "control").read_text().strip()
        # Never through the proxy that the tests' own environment may name.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    # Faults

    def fail_randomly(
        self,
        share: float,
        seed: int,
        kinds: Sequence[Kind] = ("429", "503", "timeout", "dropped"),
        services: Sequence[str] = ("arm", "ml", "quota", "history", "vault"),
    ) -> None:
        """That share of control-plane calls fails from now on; a share of 0 ends it."""
        self._ask("fail_randomly", share=share, seed=seed, kinds=list(kinds), services=list(services))

    def fail_next(self, match: str, kind: Kind, times: int = 1) -> None:
        """The next calls whose `VERB service path?query` has every word of `match` meet the fault.

        `fail_next("PUT /jobs/", "dropped")`: the job is submitted and the answer lost.
        """
        self._ask("fail_next", match=match, kind=kind, times=times)

    def clear_faults(self) -> None:
        """No faults of calls, what-ifs, builds, capacity, quota verdicts or role delays any more."""
        self._ask("clear_faults")

    def what_if_hangs(self, hangs: bool = True) -> None:
        """A what-if that is asked for from now on never ends: its result stays 202 without a body."""
        self._ask("what_if_hangs", hangs=hangs)

    def hold_seconds(self, seconds: float) -> None:
        """How long a call that meets `timeout` or `slow` is held."""
        self._ask("hold_seconds", seconds=seconds)

    def scale(self, scale: float) -> None:
        """1: a workspace takes 3 s; 0: everything is instant."""
        self._ask("scale", scale=scale)

    # Requests

    def requests(
        self,
        service: str | None = None,
        verb: str | None = None,
        identity: str | None = None,
        match: str | None = None,
        writes_only: bool = False,
    ) -> list[dict[str, Any]]:
        """The requests that fit, oldest first, each with service (arm, ml, quota, entra, vault, history, blob), verb,
        path, query, identity, status (0: no answer was sent), fault, at and writes."""
        return self._ask(
            "requests", service=service, verb=verb, identity=identity, match=match, writes_only=writes_only
        )

    def forget_requests(self) -> None:
        """The log starts anew."""
        self._ask("forget_requests")

    # Roles and sign-in

    def give_role(
        self, oid: str = USER, role: str = "Owner", scope: str = SUBSCRIPTION_SCOPE, delay: float | None = None
    ) -> str:
        """The built-in role by name; returns the assignment's id."""
        return self._ask("give_role", oid=oid, role=role, scope=scope, delay=delay)

    def take_role(self, id: str) -> bool:
        """The assignment gone at once; whether it was there."""
        return self._ask("take_role", id=id)

    def roles(self, oid: str | None = None) -> list[dict[str, Any]]:
        """Every assignment (of one principal): id, oid, role, scope."""
        return self._ask("roles", oid=oid)

    def role_delay(self, seconds: float) -> None:
        """How long roles that are given from now on take to arrive."""
        self._ask("role_delay", seconds=seconds)

    def new_service_principal(self, name: str) -> dict[str, str]:
        """oid, client_id and secret of a principal without any role."""
        return self._ask("new_service_principal", name=name)

    def sign_in(self, state: Literal["signed_in", "signed_out", "expired"] = "signed_in", **login: Any) -> None:
        """Who `az` says is signed in; other fields are those of `az_login.Login`."""
        self._ask("sign_in", state=state, **login)

    # Quota, providers, names

    def set_quota(self, family: str, vcpus: int) -> None:
        """Azure ML's limit, in every region, of a family (`standardNCADSA100v4Family`) or of `TotalDedicatedCores`."""
        self._ask("set_quota", family=family, vcpus=vcpus)

    def quota_verdict(self, verdict: Literal["grant", "refuse", "wait"]) -> None:
        """How requests for quota end from now on."""
        self._ask("quota_verdict", verdict=verdict)

    def set_provider(self, namespace: str, state: Literal["Registered", "NotRegistered", "Registering"]) -> None:
        self._ask("set_provider", namespace=namespace, state=state)

    def provider(self, namespace: str) -> str:
        return self._ask("provider", namespace=namespace)

    def take_name(self, name: str) -> None:
        """A storage account or Cosmos account of that name belongs to someone else."""
        self._ask("take_name", name=name)

    def soft_delete_vault(self, name: str) -> None:
        """A vault of that name is in deleted state, from somebody else's group."""
        self._ask("soft_delete_vault", name=name)

    def soft_deleted(self) -> list[str]:
        """The ids of vaults and workspaces that were deleted and that Azure still keeps."""
        return self._ask("soft_deleted")

    def subscription_state(self, state: Literal["Enabled", "Disabled", "Warned", "PastDue"]) -> None:
        self._ask("subscription_state", state=state)

    def subscription_tenant(self, tenant: str = TENANT) -> None:
        """The tenant that the subscription trusts; tokens are of the one tenant there is."""
        self._ask("subscription_tenant", tenant=tenant)

    def size_unavailable(self, vm_size: str, unavailable: bool = True) -> None:
        """The VM size is not offered in the region."""
        self._ask("size_unavailable", vm_size=vm_size, unavailable=unavailable)

    # Resources

    def resource(self, id: str) -> dict[str, Any] | None:
        """The live resource, seen without a request."""
        return self._ask("resource", id=id)

    def resources(self, type: str | None = None, under: str = "") -> list[dict[str, Any]]:
        """All live resources, or those of a type, or under an id."""
        return self._ask("resources", type=type, under=under)

    def change(self, id: str, **properties: Any) -> dict[str, Any]:
        """Drift: the properties changed behind the template's back."""
        return self._ask("change", id=id, properties=properties)

    def plant(self, id: str, body: dict[str, Any], hidden: dict[str, Any] | None = None) -> None:
        """A resource that is there as if made by somebody; nothing is checked and nothing starts."""
        self._ask("plant", id=id, body=body, hidden=hidden or {})

    def delete(self, id: str) -> bool:
        """Drift: the resource gone, with everything under it; whether it was there."""
        return self._ask("delete", id=id)

    # Compute and jobs

    def capacity(self, available: bool) -> None:
        """Whether clusters get new nodes."""
        self._ask("capacity", available=available)

    def image_builds_fail(self, fail: bool = True) -> None:
        """Images that are not built yet fail to build."""
        self._ask("image_builds_fail", fail=fail)

    def executed_jobs(self) -> list[str]:
        """The names of the jobs whose command was started, in order."""
        return self._ask("executed_jobs")

    def job_history(self, name: str) -> list[str]:
        """Every status that the job had, in order; of two jobs of one name, the one that was submitted last."""
        return self._ask("job_history", name=name)

    def lose_node(self, name: str, comes_back: bool = True) -> None:
        """The job's machine is gone; with `comes_back`, Azure ML runs the command again on another."""
        self._ask("lose_node", name=name, comes_back=comes_back)

    def fail_job(self, name: str) -> None:
        """The running job's command is killed, so that the job fails."""
        self._ask("fail_job", name=name)

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
        """A fault of the deployment of that name, live or yet to be made; without a name, of the next to be made.

        `crash` comes that many real seconds after it is ready, or instead of the answer that follows
        `after_requests` answers, and is for good, as in a crash loop; `routed_only` counts no pinned requests.
        `wrong_answer` answers 200 with `text` for every text. `slow` takes that many scaled seconds longer.
        """
        self._ask(
            "deployment_fault",
            kind=kind,
            deployment=deployment,
            seconds=seconds,
            after_requests=after_requests,
            routed_only=routed_only,
            text=text,
        )

    def container_patience(self, seconds: float) -> None:
        """The real seconds that a container has to get ready, however short the scale makes its probes."""
        self._ask("container_patience", seconds=seconds)

    def scoring_counts(self, endpoint: str) -> dict[str, dict[str, int]]:
        """How many requests each deployment was sent, by status; under "" those that reached none."""
        return self._ask("scoring_counts", endpoint=endpoint)

    def traffic_history(self, endpoint: str) -> list[dict[str, int]]:
        """Every traffic that the endpoint had, in order; it begins with none."""
        return self._ask("traffic_history", endpoint=endpoint)

    def endpoint_history(self, id: str) -> list[str]:
        """Every provisioning state that the endpoint or deployment had, in order."""
        return self._ask("endpoint_history", id=id)

    def rotate_keys(self, endpoint: str, primary: str | None = None) -> None:
        """New keys, behind everyone's back; the primary one is planted when given."""
        self._ask("rotate_keys", endpoint=endpoint, primary=primary)

    def containers(self) -> list[dict[str, Any]]:
        """The containers that run: endpoint, deployment and pid."""
        return self._ask("containers")

    def storage_key(self, account: str, key: str | None = None) -> str:
        """The account's first key, after planting the one given."""
        return self._ask("storage_key", account=account, key=key)

    def ping(self) -> str:
        return self._ask("ping")

    def _ask(self, command: str, **arguments: Any) -> Any:
        request = urllib.request.Request(f"{self.address}/{command}", json.dumps(arguments).encode(), method="POST")
        try:
            with self._opener.open(request, timeout=60) as response:
                return json.load(response)["result"]
        except HTTPError as e:
            raise ControlError(f"{command}: {json.load(e).get('error')}") from e
