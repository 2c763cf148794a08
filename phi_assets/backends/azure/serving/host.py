"""The managed online endpoint on Azure: a stable address, and behind it one deployment that passed its tests."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from phi_assets.backends.azure.client.account import SUBSCRIPTION
from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.names import endpoint_name
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.client.retry import log_to_run, with_deadline
from phi_assets.backends.azure.infrastructure import prices, providers
from phi_assets.backends.azure.serving import blue_green, image
from phi_assets.backends.azure.serving.deployment_spec import Machines, WantedDeployment, dollars_a_day, record_of
from phi_assets.backends.azure.serving.endpoint import OnlineEndpoint
from phi_assets.backends.azure.serving.state import NOTHING, PROVEN, EndpointState
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.backends.azure.storage.blob_lease import BlobLease, only_holder
from phi_assets.ports.base import Decides, Log
from phi_assets.ports.serving import EndpointHost
from phi_assets.records import Deployment, Endpoint, OptimizedModel, Record, RegisteredModel

# Azure fails to create managed endpoints without these.
PROVIDERS = ["Microsoft.PolicyInsights", "Microsoft.Cdn"]
INTERACTIVE_SECONDS = 20.0
LEASE_MINUTES = 120.0  # that one change of the endpoint waits for another
NO_PRICE = "an unknown price (the price table has no row for its VM size)"


class AzureEndpointHost(EndpointHost):
    """The account's endpoint. It is never started or stopped: it serves, and costs money, until phi teardown deletes
    it.
    """

    decides: ClassVar = {
        "online_endpoint": Decides(
            modules=("azure.serving.endpoint", "azure.serving.state"), settings=(*SUBSCRIPTION, "azure_endpoint_auth")
        ),
        "online_deployment": Decides(
            modules=(
                "azure.serving.deployment_spec",
                "azure.serving.blue_green",
                "azure.serving.canary",
                "azure.serving.image",
                "azure.infrastructure.ml_environment",
            ),
            programs=("serving_code", "serving_code/environment"),
            settings=(
                *SUBSCRIPTION,
                "azure_endpoint_vm_size",
                "azure_endpoint_instances",
                "azure_endpoint_concurrency",
                "azure_request_seconds",
            ),
        ),
    }
    account: dict[str, str]
    vm_size: str
    instances: int = 1
    auth: str = "key"
    concurrency: int = 3
    request_seconds: int = 180
    canary_share: int = 10
    canary_minutes: float = 1.0
    drain_seconds: float | None = None  # time for the old deployment's last responses; None: request_seconds
    role_minutes: float = 30.0

    def ensure_endpoint(self, log: Log) -> Endpoint:
        endpoint = self._endpoint(log)
        state = endpoint.at_rest()
        if state is None or not endpoint.is_as_wanted(state, self.auth):
            providers.ensure_registered(self._clients, PROVIDERS, log)
            log(f"{'creating' if state is None else 'updating'} endpoint {endpoint.name}")
            with self._alone(endpoint, log):
                before = endpoint.at_rest() or NOTHING
                written = endpoint.put(self.auth, before.traffic, before.tags.get(PROVEN, ""))
            state = written.state
            if not endpoint.is_as_wanted(state, self.auth):
                reason = f"{state.state.lower() or 'deleted'}: {endpoint.reason(written)}"
                raise AzureRefused(
                    description=f"endpoint {endpoint.name} is {reason}. Fix the cause and run again to retry; "
                    "if that fails too, phi teardown deletes it, and the next run creates it",
                    allow_retries=False,
                )
        log(f"endpoint {endpoint.name} has the address {state.address}")
        return self._endpoint_record(endpoint, state)

    def deploy(self, model: RegisteredModel, log: Log, optimized: OptimizedModel | None = None) -> Deployment:
        if optimized:
            raise ValueError("a managed online endpoint serves the full model only; set PHI_QUANTIZE=off")
        endpoint, of = self._endpoint(log), self._clients
        wanted = self._wanted(model)
        drain = self.request_seconds if self.drain_seconds is None else self.drain_seconds
        trial = blue_green.Trial(self.canary_share, self.canary_minutes * 60, drain, self.request_seconds)
        change = blue_green.BlueGreen(endpoint, self.auth, wanted, trial, log)
        if change.is_done(endpoint.at_rest()):
            log(f"{wanted.name} already serves {model.name}:{model.version}")
        else:
            image.ensure(of, self.role_minutes, log)
            with self._alone(endpoint, log) as lease:
                change.run(wanted.body(of), lease.require)
            log(f"{wanted.name} serves {model.name}:{model.version}")
        record = self._record(endpoint, wanted.name, wanted.facts, self.vm_size, self.instances)
        if not record.dollars_a_day:
            log(f"the price table has no row for {self.vm_size}: the daily cost of {wanted.name} is unknown")
        return record

    def find(self, digest: str) -> Record | None:
        try:
            endpoint = self._endpoint(log_to_run)
        except NotDeployed:
            return None
        state = endpoint.read()
        if state is None or not endpoint.is_as_wanted(state, self.auth):
            return None
        record = self._endpoint_record(endpoint, state)
        if record.digest == digest:
            return record
        live = state.live
        if live is None or live.facts.get("digest") != digest or not state.alone(live.name):
            return None
        return self._record(endpoint, live.name, live.facts, live.vm_size, live.instances)

    def missing_reason(self, digest: str) -> str:
        del digest
        return "the endpoint was deleted or changed, or another deployment exists or has its traffic"

    @property
    def remedy(self) -> str:
        try:
            return f"see {self._endpoint(log_to_run).portal}; `phi run` creates and deploys what is missing"
        except NotDeployed:
            return "`phi run` creates it"

    def key(self) -> str:
        return self._endpoint(log_to_run).key(self.auth)

    def start(self, log: Log) -> None:
        """Do nothing: a deployment always runs."""
        del log

    def stop(self, log: Log) -> None:
        state = self._state()
        if state is None or not state.deployments:
            return
        location = self._clients.account.location
        each = [dollars_a_day(one.vm_size, one.instances, location) for one in state.deployments.values()]
        known = [dollars for dollars in each if dollars is not None]
        costs = f"about {sum(known):.2f} dollars a day ({prices.AS_OF})" if len(known) == len(each) else NO_PRICE
        log(f"endpoint {endpoint_name(self._clients.account)} keeps running, for {costs}: phi teardown deletes it")

    def status(self) -> dict[str, Any]:
        state = self._state()
        name = endpoint_name(self._clients.account)
        if state is None:
            return {"name": name, "address": None, "alive": False, "ready": False, "deployments": []}
        serving = state.state in ("Succeeded", "Updating") and state.live is not None
        return {
            "name": name,
            "address": state.address,
            "alive": serving,
            "ready": serving,
            "deployments": [
                {
                    "name": each.name,
                    "traffic": state.traffic.get(each.name, 0),
                    "alive": each.serves,
                    "ready": each.serves,
                    "model_name": each.facts.get("model_name", ""),
                    "model_version": each.facts.get("model_version", ""),
                    "model_digest": each.facts.get("model_digest", ""),
                    "state": each.state,
                }
                for each in state.deployments.values()
            ],
        }

    def _state(self) -> EndpointState | None:
        """The endpoint's current state, for an interactive command: raises GaveUp after INTERACTIVE_SECONDS."""
        try:
            endpoint = self._endpoint(log_to_run)
            return with_deadline(f"reading endpoint {endpoint.name}", endpoint.read, INTERACTIVE_SECONDS)
        except NotDeployed:
            return None

    def _wanted(self, model: RegisteredModel) -> WantedDeployment:
        return WantedDeployment(endpoint_name(self._clients.account), model, self._machines)

    def _record(
        self, endpoint: OnlineEndpoint, name: str, facts: Mapping[str, str], vm_size: str, instances: int
    ) -> Deployment:
        dollars = dollars_a_day(vm_size, instances, self._clients.account.location)
        return record_of(endpoint.name, name, facts, dollars or 0.0, endpoint.portal)

    def _endpoint_record(self, endpoint: OnlineEndpoint, state: EndpointState) -> Endpoint:
        content = f"{endpoint.id}\n{state.address}\n{self.auth}"
        return Endpoint(
            digest=hashlib.sha256(content.encode()).hexdigest(),
            name=endpoint.name,
            address=state.address,
            auth=self.auth,
            portal=endpoint.portal,
        )

    @contextmanager
    def _alone(self, endpoint: OnlineEndpoint, log: Log) -> Iterator[BlobLease]:
        blobs = WorkspaceBlobs(self._clients, log, self.role_minutes)
        with only_holder(blobs, endpoint.name, f"endpoint {endpoint.name}", minutes=LEASE_MINUTES) as lease:
            endpoint.still_alone = lease.require
            yield lease

    def _endpoint(self, log: Log) -> OnlineEndpoint:
        return OnlineEndpoint(self._clients, log, self.role_minutes)

    @property
    def _machines(self) -> Machines:
        return Machines(self.vm_size, self.instances, self.concurrency, self.request_seconds)

    @property
    def _clients(self) -> AzureClients:
        return clients(self.account)
