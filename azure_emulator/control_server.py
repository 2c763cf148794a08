"""Control server of the local Azure: plain HTTP on loopback, one POST per command."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from azure_emulator.emulator import Emulator
from azure_emulator.identity import az_login
from azure_emulator.identity.identities import USER
from azure_emulator.messages import AzureError
from azure_emulator.resource_manager import put_resource
from azure_emulator.resource_manager.builtin_roles import role_of
from azure_emulator.resource_manager.resource_ids import name_of
from azure_emulator.scoring.faults import KINDS as FAULTS
from azure_emulator.scoring.faults import Fault
from azure_emulator.scoring.live_endpoints import new_key

Command = Callable[..., Any]


def control_app(emulator: Emulator) -> Starlette:
    """Serve POST /<command> with JSON arguments. The response is the result, or 400 with the reason."""
    commands = ControlCommands(emulator)

    async def execute(request: Request) -> JSONResponse:
        name = request.path_params["command"]
        command = getattr(commands, name, None)
        if name.startswith("_") or command is None:
            return JSONResponse({"error": f"unknown command {name!r}"}, 404)
        arguments = json.loads(await request.body() or b"{}")
        try:
            return JSONResponse({"result": await run_in_threadpool(command, **arguments)})
        except (AzureError, KeyError, TypeError, ValueError) as e:
            return JSONResponse({"error": f"{type(e).__name__}: {e}"}, 400)

    return Starlette(routes=[Route("/{command}", execute, methods=["POST"])])


class ControlCommands:
    """All control commands. `control.Control` has the same methods, with types and descriptions."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    # Faults

    def fail_randomly(self, **arguments: Any) -> None:
        self._emulator.faults.fail_randomly(**arguments)

    def fail_next(self, match: str, kind: Any, times: int, after: int = 0) -> None:
        self._emulator.faults.fail_next(match, kind, times, after)

    def clear_faults(self) -> None:
        self._emulator.faults.clear()
        self._emulator.jobs.build_fails = False
        self._emulator.clusters.capacity = True
        self._emulator.quota.verdict = "grant"
        self._emulator.what_if_hangs = False
        self._emulator.authorization.delay = 0.0
        self._emulator.cosmos.lags = False
        self._emulator.scoring.clear_faults()

    def what_if_hangs(self, hangs: bool = True) -> None:
        self._emulator.what_if_hangs = hangs

    def hold_seconds(self, seconds: float) -> None:
        self._emulator.faults.hold_seconds = seconds

    def scale(self, scale: float) -> None:
        self._emulator.clock.scale = scale

    # Requests

    def requests(self, **filters: Any) -> list[dict[str, Any]]:
        return self._emulator.log.find(**filters)

    def forget_requests(self) -> None:
        self._emulator.log.clear()

    # Roles and sign-in

    def give_role(self, oid: str, role: str, scope: str, delay: float | None) -> str:
        return self._emulator.give_role(oid, role, scope, delay)

    def take_role(self, id: str) -> bool:
        known = any(a.id == id.lower() for a in self._emulator.authorization.all())
        put_resource.drop(self._emulator, id)
        self._emulator.authorization.take(id)
        return known

    def roles(self, oid: str | None) -> list[dict[str, Any]]:
        return [
            {"id": a.id, "oid": a.oid, "role": role_of(a.role).name, "scope": a.scope}
            for a in self._emulator.authorization.all()
            if oid is None or a.oid == oid.lower()
        ]

    def role_delay(self, seconds: float) -> None:
        self._emulator.authorization.delay = seconds

    def new_service_principal(self, name: str) -> dict[str, str]:
        return self._emulator.new_service_principal(name)

    def sign_in(self, **login: Any) -> None:
        az_login.save(self._emulator.folder, az_login.Login(**login))

    # Quota, providers, names

    def set_quota(self, family: str, vcpus: int) -> None:
        self._emulator.quota.set_limit(family, vcpus)

    def quota_verdict(self, verdict: Any) -> None:
        if verdict not in ("grant", "refuse", "wait"):
            raise ValueError(f"verdict {verdict!r} is not one of grant, refuse, wait")
        self._emulator.quota.verdict = verdict

    def set_provider(self, namespace: str, state: str) -> None:
        self._emulator.providers.set(namespace, state)

    def provider(self, namespace: str) -> str:
        return self._emulator.providers.state(namespace)

    def take_name(self, name: str) -> None:
        self._emulator.taken_names.add(name.lower())

    def soft_delete_vault(self, name: str) -> None:
        self._emulator.soft_deleted.add_foreign_vault(self._emulator.subscription, name, "eastus2")

    def soft_deleted(self) -> list[str]:
        return self._emulator.soft_deleted.ids()

    def subscription_state(self, state: str) -> None:
        self._emulator.subscription_state = state

    def subscription_tenant(self, tenant: str) -> None:
        self._emulator.subscription_tenant = tenant

    def size_unavailable(self, vm_size: str, unavailable: bool) -> None:
        sizes = self._emulator.unavailable_sizes
        (sizes.add if unavailable else sizes.discard)(vm_size.lower())

    # Resources

    def resource(self, id: str) -> dict[str, Any] | None:
        found = self._emulator.resources.find(id)
        return found.shown() if found else None

    def resources(self, type: str | None, under: str) -> list[dict[str, Any]]:
        rows = self._emulator.resources.of_type(type, under) if type else self._emulator.resources.all()
        return [r.shown() for r in rows]

    def change(self, id: str, properties: dict[str, Any]) -> dict[str, Any]:
        """Change properties without a deployment (drift)."""
        found = self._emulator.resources.find(id)
        if found is None:
            raise KeyError(f"there is no resource {id}")
        found.properties.update(properties)
        return found.shown()

    def plant(self, id: str, body: dict[str, Any], hidden: dict[str, Any]) -> None:
        self._emulator.resources.keep(id, body, USER, body).hidden.update(hidden)

    def delete(self, id: str) -> bool:
        return put_resource.drop(self._emulator, id)

    # Cosmos DB

    def cosmos_items(self, container: str) -> list[dict[str, Any]]:
        found = self._emulator.resources.find(container)
        if found is None:
            raise KeyError(f"there is no container {container}")
        return self._emulator.cosmos.all_items(self._emulator.cosmos.container(found))

    def cosmos_empty(self) -> None:
        self._emulator.cosmos.empty()

    def cosmos_advance(self, seconds: float) -> None:
        self._emulator.cosmos.advance(seconds)

    def cosmos_lags(self, lags: bool) -> None:
        self._emulator.cosmos.lags = lags

    # Compute and jobs

    def capacity(self, available: bool) -> None:
        self._emulator.clusters.capacity = available

    def image_builds_fail(self, fail: bool) -> None:
        self._emulator.jobs.build_fails = fail

    def executed_jobs(self) -> list[str]:
        return list(self._emulator.jobs.executed)

    def job_history(self, name: str) -> list[str]:
        return self._emulator.jobs.history(name)

    def lose_node(self, name: str, comes_back: bool) -> None:
        self._emulator.runner.lose_node(self._emulator.jobs.id_of(name), comes_back)

    def fail_job(self, name: str) -> None:
        pid = self._emulator.runner.process_id(self._emulator.jobs.id_of(name))
        if pid is None:
            raise KeyError(f"job {name} does not run now")
        os.kill(pid, signal.SIGKILL)

    # Endpoints

    def deployment_fault(self, deployment: str | None, **details: Any) -> None:
        if details["kind"] not in FAULTS:
            raise ValueError(f"the fault {details['kind']!r} is not one of {FAULTS}")
        fault = Fault(**details)
        live = [e.deployments[deployment] for e in self._emulator.scoring.all() if deployment in e.deployments]
        for slot in live:
            slot.play(fault)
        self._emulator.scoring.faults.plan(fault, deployment)

    def container_patience(self, seconds: float) -> None:
        self._emulator.provisioner.patience = seconds

    def scoring_counts(self, endpoint: str) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for (deployment, status), count in list(self._emulator.scoring.named(endpoint).counts.items()):
            found.setdefault(deployment, {})[str(status)] = count
        return found

    def traffic_history(self, endpoint: str) -> list[dict[str, int]]:
        return list(self._emulator.scoring.named(endpoint).history)

    def endpoint_history(self, id: str) -> list[str]:
        found = self._emulator.resources.find(id)
        if found is None:
            raise KeyError(f"there is no resource {id}")
        return list(found.hidden.get("history", []))

    def rotate_keys(self, endpoint: str, primary: str | None) -> None:
        found = self._emulator.scoring.named(endpoint)
        found.keys = {"primaryKey": primary or new_key(), "secondaryKey": new_key()}

    def containers(self) -> list[dict[str, Any]]:
        return [
            {"endpoint": name_of(endpoint.id), "deployment": slot.name, "pid": slot.container.pid}
            for endpoint in self._emulator.scoring.all()
            for slot in list(endpoint.deployments.values())
            if slot.container and slot.container.pid
        ]

    def storage_key(self, account: str, key: str | None) -> str:
        """Set the account's first key, or return it."""
        if key is not None:
            return self._emulator.blobs.regenerate_key(account, 1, key)
        return self._emulator.blobs.key_of(account)

    def ping(self) -> str:
        return "the local Azure is up"
