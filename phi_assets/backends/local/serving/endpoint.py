"""An endpoint on this machine with Azure's semantics: a stable address with a key, named deployments, traffic shares,
and an old deployment that serves until the new one has passed its smoke test."""

import fcntl
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phi_assets.backends.local.serving.processes import ServerProcess
from phi_assets.backends.local.serving.servers import (
    GRACE_SECONDS,
    READY_TIMEOUT_SECONDS,
    AddressTaken,
    EndpointError,
    answers,
    await_ready,
    listener,
    preferred_listener,
    router_digest,
    serving_digest,
    stable_listener,
    start_deployment,
    start_router,
)
from phi_assets.backends.local.serving.state import (
    COLOURS,
    MEND,
    DeploymentState,
    EndpointState,
    read_state,
    write_state,
)
from phi_assets.files import DamagedFile, atomic_write, lock, private, private_folder

__all__ = ["AddressTaken", "DeploymentFailed", "DeploymentState", "EndpointError", "EndpointState", "LocalEndpoint"]

Log = Callable[[str], None]
Smoke = Callable[[str, str, str], None]  # address, key, deployment

ROUTER = "router"
# The router may still forward a request by the old state; the old deployment must accept it.
SETTLE_SECONDS = 1.0
SHORTEST_KEY = 16  # characters


class DeploymentFailed(EndpointError):
    """The new deployment failed and was removed; the traffic is unchanged."""


@dataclass(frozen=True)
class LocalEndpoint:
    """The endpoint `name`, with all its files in `root/name`. Its servers outlive the process that starts them.

    They store questions and answers for `answers_days` days in the file `answers`, if one is given.
    """

    root: Path
    name: str
    answers: Path | None = None
    answers_days: float = 0
    traces: str = ""

    def ensure(self) -> EndpointState:
        """Ensure that the endpoint has an address, a key and a running router. Raises AddressTaken or EndpointError."""
        with self._exclusive():
            return self._ensure_router()

    def deploy(
        self,
        model_dir: Path,
        *,
        model_name: str,
        model_version: str,
        model_digest: str,
        form: str = "full",
        smoke: Smoke,
        log: Log,
        traffic: int = 100,
        ready_timeout: float = READY_TIMEOUT_SECONDS,
    ) -> DeploymentState:
        """Deploy the model with this share of the traffic, in per cent; at 100 other deployments are stopped.

        Idempotent. Below 100 the deployment with the most traffic keeps the rest. `smoke` is called with the endpoint's
        address, its key and the new deployment's name before any traffic moves, and raises if the answers are invalid.
        Raises DeploymentFailed; then the old deployment keeps the traffic.
        """
        wanted = DeploymentState(
            "", str(Path(model_dir).resolve()), model_name, str(model_version), model_digest, serving_digest(), 0, form
        )
        with self._exclusive(log):
            state = self._sweep(self._ensure_router())
            live = state.live()
            same = next((deployment for deployment in state.deployments.values() if deployment.serves(wanted)), None)
            if same:
                log(f"{same.name} serves {model_name}:{model_version} already")
                state = self._ensure_running(state, same, ready_timeout, log)
                return self._share(state, same.name, traffic, log)
            new = replace(wanted, name=next(colour for colour in COLOURS if live is None or colour != live.name))
            # With traffic on both colours, the smaller share moves over before its colour is used again.
            if live and new.name in state.deployments:
                self._share(state, live.name, 100, log)
            state = self._replace(live, new, smoke, log, ready_timeout)
            return self._share(state, new.name, traffic, log)

    def start(self, log: Log = lambda _: None, *, ready_timeout: float = READY_TIMEOUT_SECONDS) -> EndpointState | None:
        """Start the recorded servers under the same address and key; return None when there is no record.

        A deployment whose model was deleted is skipped with a log line. Raises EndpointError for one that fails.
        """
        with self._exclusive(log):
            if self.state() is None:
                return None
            state = self._sweep(self._ensure_router())
            for name in state.traffic:
                deployment = state.deployments[name]
                if Path(deployment.model_dir, "config.json").is_file() or self._process(name).alive():
                    state = self._ensure_running(state, deployment, ready_timeout, log)
                else:
                    log(f"{name} cannot be started, its model is missing: {deployment.model_dir}; deploy a model again")
            return state

    def stop(self, log: Log = lambda _: None) -> None:
        """Stop all processes of this endpoint; the record stays, for `start`. Writes nothing."""
        if not self.folder.is_dir():
            return
        with self._exclusive(log):
            for process in (self._process(name) for name in (ROUTER, *COLOURS)):
                if process.alive():
                    log(f"stopping {process.name}")
                    process.stop(GRACE_SECONDS)

    def state(self) -> EndpointState | None:
        """Return the recorded state; None before the first `ensure`."""
        return read_state(self._state_file)

    def key(self) -> str:
        """Return the endpoint's key. Raises EndpointError before the first `ensure`, and DamagedFile without a key."""
        try:
            key = self._key_file.read_bytes()
        except FileNotFoundError as e:
            raise EndpointError(f"endpoint {self.name} has no key yet; ensure it first") from e
        # A server that is given an empty key asks its clients for none.
        if len(key.strip()) < SHORTEST_KEY or not key.isascii():
            raise DamagedFile(self._key_file, "it holds no key", MEND)
        return key.decode().strip()

    def status(self) -> dict[str, Any]:
        """Return the address and the deployments with traffic, liveness and readiness, without the key."""
        state = self.state()
        if state is None:
            return {"name": self.name, "address": None, "alive": False, "ready": False, "deployments": []}
        return {
            "name": self.name,
            "address": state.address,
            "alive": self._process(ROUTER).alive(),
            "ready": self._process(ROUTER).alive() and answers(state.port, "/readyz", timeout=10.0),
            "deployments": [
                {
                    "name": name,
                    "traffic": state.traffic.get(name, 0),
                    "alive": self._process(name).alive(),
                    "ready": self._process(name).alive() and answers(deployment.port, "/readyz"),
                    "model_name": deployment.model_name,
                    "model_version": deployment.model_version,
                    "model_digest": deployment.model_digest,
                    "model_dir": deployment.model_dir,
                    "form": deployment.form,
                }
                for name, deployment in state.deployments.items()
            ],
        }

    def _ensure_router(self) -> EndpointState:
        state, process = self.state(), self._process(ROUTER)
        if self._key_file.exists():
            self.key()
        else:
            atomic_write(self._key_file, secrets.token_urlsafe(32) + "\n")
        if state and process.alive() and state.router_digest == router_digest() and answers(state.port, "/livez"):
            return state
        process.stop(GRACE_SECONDS)
        listening = listener(state.port) if state else stable_listener()
        state = state or EndpointState(self.name, listening.getsockname()[1], "")
        state = replace(state, router_digest=router_digest())
        write_state(self._state_file, state)
        start_router(process, self.folder, listening)
        return state

    def _sweep(self, state: EndpointState) -> EndpointState:
        """Remove the remains of an interrupted deployment: servers and records without traffic."""
        for colour in COLOURS:
            if not state.traffic.get(colour):
                self._process(colour).stop(GRACE_SECONDS)
                state = state.without(colour)
        write_state(self._state_file, state)
        return state

    def _ensure_running(
        self, state: EndpointState, deployment: DeploymentState, timeout: float, log: Log
    ) -> EndpointState:
        process = self._process(deployment.name)
        if not process.alive():
            log(f"starting {deployment.name} ({deployment.model_name}:{deployment.model_version})")
            listening = preferred_listener(deployment.port)
            deployment = replace(deployment, port=listening.getsockname()[1])
            state = state.with_deployment(deployment)
            write_state(self._state_file, state)
            start_deployment(process, deployment, self.key(), listening, self._answer_options)
        await_ready(process, deployment.port, "/readyz", timeout, log=log)
        return state

    def _replace(
        self, live: DeploymentState | None, new: DeploymentState, smoke: Smoke, log: Log, timeout: float
    ) -> EndpointState:
        """Start and test the new deployment without traffic, while the live one serves."""
        process, state = self._process(new.name), self._required_state()
        listening = stable_listener()
        new = replace(new, port=listening.getsockname()[1])
        state = state.with_deployment(new)
        try:
            write_state(self._state_file, state)
            log(f"starting {new.name} ({new.model_name}:{new.model_version}); live: {live.name if live else 'none'}")
            start_deployment(process, new, self.key(), listening, self._answer_options)
            await_ready(process, new.port, "/readyz", timeout, log=log)
            log(f"{new.name} is ready; running the smoke test before it takes traffic")
            smoke(state.address, self.key(), new.name)
            if not process.alive():
                raise EndpointError(f"{new.name} ended while it was tested")
        except BaseException as e:
            log_tail = process.log_tail()
            process.stop(GRACE_SECONDS)
            write_state(self._state_file, state.without(new.name))
            if not isinstance(e, Exception):
                raise
            keeps = f"{live.name} keeps the traffic" if live else "nothing is deployed"
            raise DeploymentFailed(f"{new.name} failed, {keeps}: {e}\nThe end of its log:\n{log_tail}") from e
        return state

    def _share(self, state: EndpointState, name: str, percent: int, log: Log) -> DeploymentState:
        """Give the deployment this share of the traffic; stop and remove deployments without traffic."""
        rest = next((other for other in state.deployments if other != name and state.traffic.get(other)), None)
        traffic = {name: percent, rest: 100 - percent} if rest and percent < 100 else {name: 100}
        if state.traffic != traffic:
            state = state.with_traffic(traffic)
            write_state(self._state_file, state)
            log(f"{name} takes {traffic[name]}% of the traffic")
        others = [other for other in state.deployments if not state.traffic.get(other)]
        if others:
            time.sleep(SETTLE_SECONDS)
        for other in others:
            log(f"stopping {other}")
            self._process(other).stop(GRACE_SECONDS)
            state = state.without(other)
            write_state(self._state_file, state)
        return state.deployments[name]

    def _required_state(self) -> EndpointState:
        state = self.state()
        if state is None:
            raise EndpointError(f"endpoint {self.name} does not exist; ensure it first")
        return state

    @contextmanager
    def _exclusive(self, log: Log = lambda _: None) -> Iterator[None]:
        """Hold the endpoint's lock, so that only one process changes it; others wait."""
        private_folder(self.folder)
        path = self.folder / "changes.lock"
        # An existing one is only read: servers are stopped also when their disk has become read-only.
        with open(path, "r" if path.exists() else "a", encoding="utf-8", opener=private) as held:
            try:
                lock(held, fcntl.LOCK_EX | fcntl.LOCK_NB, path)
            except BlockingIOError:
                log(f"another process is changing endpoint {self.name}; waiting for it")
                lock(held, fcntl.LOCK_EX, path)
            yield

    def _process(self, name: str) -> ServerProcess:
        return ServerProcess(self.folder, name)

    @property
    def _answer_options(self) -> list[str]:
        """Command-line options of a server for storing answers and sending traces."""
        stored = ["--answers", str(self.answers), "--answers-days", f"{self.answers_days:g}"] if self.answers else []
        return [*stored, *(["--traces", self.traces] if self.traces else [])]

    @property
    def folder(self) -> Path:
        """The folder of the endpoint's files."""
        return (self.root / self.name).resolve()

    @property
    def _state_file(self) -> Path:
        return self.folder / "state.json"

    @property
    def _key_file(self) -> Path:
        return self.folder / "key"
