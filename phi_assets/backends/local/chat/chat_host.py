"""The laptop's chat: a server on a stable port of 127.0.0.1, and on demand one for the base model."""

import hashlib
import json
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from phi_assets import child_environment, code_digest
from phi_assets.backends import chat_server
from phi_assets.backends.local.serving.processes import ServerProcess
from phi_assets.backends.local.serving.servers import (
    EndpointError,
    answers,
    await_ready,
    listener,
    preferred_listener,
    stable_listener,
    start_deployment,
)
from phi_assets.backends.local.serving.state import HOST, DeploymentState
from phi_assets.databases import CHAT_HISTORY
from phi_assets.errors import BackendError, EndpointDown
from phi_assets.files import atomic_write, locked, private_folder, read_json
from phi_assets.ports.base import Decides, Log, no_log
from phi_assets.ports.chat import ChatHost
from phi_assets.project import PROJECT
from phi_assets.records import BaseModel, ChatApp, Deployment, Endpoint
from phi_assets.settings import SECRETS, variables

CHAT, BASE, TRIAL = "chat", "base", "trial"
READY_SECONDS, BASE_SECONDS = 30.0, 300.0
GRACE_SECONDS = 8.0
MEND = "`phi down`, move its folder away, then `phi run`"


@dataclass(frozen=True)
class ChatState:
    """What the servers were started with.

    `options` are the chat server's, `program` a digest of its code, its options and the files that they name; `wanted`
    is the setting of the port.
    """

    record: dict[str, str]
    wanted: int
    port: int
    program: str
    options: tuple[str, ...]
    base: dict[str, Any]


class LocalChatHost(ChatHost):
    """Serves the chat by processes that outlive the run; `phi down` stops them, `phi run` starts them again."""

    decides: ClassVar = {"chat_app": Decides(modules=("chat_server",), programs=("chat_code",))}
    state: str
    port: int
    hosts: list[str]
    system_prompt: str | None
    words: str | None
    content_safety: list[str]
    max_tokens: int
    temperature: float
    answers_at_once: int
    day_requests: int
    day_tokens: int
    keep_days: float
    questions_file: str | None
    traces: str = ""
    trace_content: bool = False

    def deploy(
        self, endpoint: Endpoint, deployment: Deployment, base_model: BaseModel, key: str, log: Log = no_log
    ) -> ChatApp:
        chat_server.texts_of(self.system_prompt, self.words)
        with self._changing():
            known = self._read()
            port = self._port(known)
            base = DeploymentState(
                name=BASE,
                model_dir=base_model.address,
                model_name=base_model.source.rpartition("/")[2].rpartition(":")[2],
                model_version=base_model.digest[:12],
                model_digest=base_model.digest,
                code_digest="",
                port=0,
            )
            self._write_facts(deployment, base)
            options = self._options(endpoint.address)
            record = ChatApp(
                digest=self._digest(endpoint, deployment),
                address=f"http://{HOST}:{port}",
                endpoint=endpoint.address,
                model_name=deployment.model_name,
                model_version=deployment.model_version,
            )
            self._try_out(options, key, log)
            program = self._program(endpoint)
            state = ChatState(asdict(record), self.port, port, program, tuple(options), asdict(base))
            if known:
                state = replace(state, base={**state.base, "port": known.base["port"]})
            # Another model is no reason to cut answers that are under way: the server reads its facts anew.
            same = known is not None and (known.program, known.port) == (program, port)
            self._write(state)
            if not (same and self._process(CHAT).alive()):
                self._process(CHAT).stop(GRACE_SECONDS)
                self._start(state, key)
            log(f"the chat is on {record.address}; `phi chat` opens it")
            return record

    def find(self, digest: str) -> ChatApp | None:
        state = self._read()
        return ChatApp(**state.record) if state and state.record["digest"] == digest else None

    def start(self, log: Log = no_log, *, base: bool = False) -> None:
        state = self._read()
        if state is None:
            return
        key = self._endpoint_key()
        try:
            with self._changing():
                if not self._process(CHAT).alive():
                    log("starting the chat's server")
                    self._start(state, key)
                if base and not self._process(BASE).alive():
                    log("starting the base model's server, to compare")
                    self._start_base(state, key, log)
        except EndpointError as e:
            raise EndpointDown(str(e)) from e

    def stop(self, log: Log = no_log) -> None:
        if not self.folder.is_dir():
            return
        for name in (CHAT, BASE, TRIAL):
            process = self._process(name)
            if process.alive():
                log(f"stopping {name}")
                process.stop(GRACE_SECONDS)

    def status(self) -> dict[str, Any]:
        state = self._read()
        if state is None:
            return {"address": None, "alive": False, "base": False}
        return {
            "address": state.record["address"],
            "alive": self._process(CHAT).alive() and answers(state.port, "/livez"),
            "base": self._process(BASE).alive(),
        }

    def link(self) -> str:
        from chat_code.who import link_token

        return f"{self._known().record['address']}/?token={link_token(self._secret())}"

    def key(self) -> str:
        from chat_code.who import program_key

        return program_key(self._secret())

    @property
    def folder(self) -> Path:
        """The folder of the chat's files: the history, its secret, the servers' logs."""
        return Path(self.state) / "chat"

    @property
    def history(self) -> Path:
        """The file of all conversations."""
        return Path(self.state) / CHAT_HISTORY

    def _options(self, endpoint: str) -> list[str]:
        options = ["--endpoint", endpoint, "--facts", str(self._facts), "--max-tokens", str(self.max_tokens)]
        options += ["--temperature", f"{self.temperature:g}", "--answers", str(self.answers_at_once)]
        options += ["--day-requests", str(self.day_requests), "--day-tokens", str(self.day_tokens)]
        options += ["--keep-days", f"{self.keep_days:g}", "--why", json.dumps(self._why_command())]
        if self.system_prompt:
            options += ["--system-prompt", self.system_prompt]
        if self.traces:
            options += ["--traces", self.traces, *(["--trace-content"] if self.trace_content else [])]
        if self.words:
            options += ["--words", self.words]
        options += self.content_safety
        return [*options, *(["--hosts", *sorted(self.hosts)] if self.hosts else [])]

    @staticmethod
    def _why_command() -> list[str]:
        return [sys.executable, "-m", "phi_assets.cli.main", "why", "--json"]

    def _digest(self, endpoint: Endpoint, deployment: Deployment) -> str:
        """SHA-256 over the server with its options, and the model."""
        return hashlib.sha256(f"{self._program(endpoint)}\n{deployment.digest}".encode()).hexdigest()

    def _program(self, endpoint: Endpoint) -> str:
        """SHA-256 over the server's code and page, its options, and the files that they name."""
        files = [Path(each).read_text(encoding="utf-8") for each in (self.system_prompt, self.words) if each]
        options = [each for each in self._options(endpoint.address) if each != str(self._facts)]
        code = code_digest.of_trees([PROJECT / "chat_code"])
        return hashlib.sha256(json.dumps([code, options, files]).encode()).hexdigest()

    def _try_out(self, options: list[str], key: str, log: Log) -> None:
        """Ask a trial server one question through its own API. Raises BackendError."""
        process = self._process(TRIAL)
        process.stop(GRACE_SECONDS)
        listening = stable_listener()
        port = listening.getsockname()[1]
        with TemporaryDirectory(prefix="trial-", dir=private_folder(self.folder)) as folder:
            try:
                with listening:
                    self._launch(process, listening, [*options, "--history", f"{folder}/{CHAT_HISTORY.name}"], key)
                await_ready(process, port, "/readyz", READY_SECONDS, log=log)
                said = chat_server.ask(f"http://{HOST}:{port}", self.key())
            except EndpointError as e:
                raise BackendError(f"the chat's server does not start, and nothing was changed: {e}") from e
            finally:
                process.stop(GRACE_SECONDS)
        log(f"a trial server answered {chat_server.QUESTION!r} with {said[:80]!r}")

    def _start(self, state: ChatState, key: str) -> None:
        listening = listener(state.port)
        with listening:
            base = ["--base-endpoint", f"http://{HOST}:{state.base['port']}"] if state.base["port"] else []
            options = [*state.options, *base, "--history", str(self.history)]
            self._launch(self._process(CHAT), listening, options, key)
        await_ready(self._process(CHAT), state.port, "/readyz", READY_SECONDS, log=no_log)

    def _start_base(self, state: ChatState, key: str, log: Log) -> None:
        """Start the base model's server, and the chat's again when that does not know its address."""
        base = DeploymentState(**state.base)
        listening = preferred_listener(base.port) if base.port else stable_listener()
        port = listening.getsockname()[1]
        start_deployment(self._process(BASE), replace(base, port=port), key, listening, ())
        await_ready(self._process(BASE), port, "/readyz", BASE_SECONDS, log=log)
        if port != base.port:
            state = replace(state, base={**state.base, "port": port})
            self._write(state)
            self._process(CHAT).stop(GRACE_SECONDS)
            self._start(state, key)

    def _launch(self, process: ServerProcess, listening: socket, options: list[str], key: str) -> None:
        own = {name: value for name, value in variables().items() if name.removeprefix("PHI_").lower() not in SECRETS}
        environment = child_environment.allowed(*child_environment.CHAT) | own
        environment |= {"PYTHONPATH": str(PROJECT), "CHAT_SECRET": self._secret()}
        environment |= {"CHAT_ENDPOINT_KEY": key, "CHAT_BASE_KEY": key}
        command = [sys.executable, "-m", "chat_code", *options]
        process.start(command, listener=listening, environment=environment, cwd=PROJECT)

    def _write_facts(self, deployment: Deployment, base: DeploymentState) -> None:
        """Write what the page shows of the models. What is known of earlier versions stays."""
        try:
            known: dict[str, Any] = read_json(self._facts, MEND)
        except (FileNotFoundError, ValueError):
            known = {}
        tuned = {
            "name": deployment.model_name,
            "version": deployment.model_version,
            "deployment": deployment.name,
        }
        before: Mapping[str, Any] = known.get("models", {}).get("tuned", {})
        same = {name: before.get(name) for name in tuned} == tuned
        since = before.get("since") if same else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        served = {
            "model_digest": deployment.model_digest,
            "dataset_digest": deployment.dataset_digest,
            "dagster_run": deployment.training_run,
        }
        facts = {
            "models": {
                "tuned": {**tuned, "since": since},
                "base": {"name": base.model_name, "version": base.model_version, "deployment": BASE, "since": None},
            },
            "examples": chat_server.examples(self.questions_file),
            "versions": {**known.get("versions", {}), deployment.model_version: {"served": served, "facts": []}},
        }
        private_folder(self.folder)
        atomic_write(self._facts, json.dumps(facts, indent=2))

    def _port(self, state: ChatState | None) -> int:
        """Return the port in use, or the setting's, or a free one when another program has that."""
        same = state is not None and state.wanted == self.port
        if state is not None and same and self._process(CHAT).alive():
            return state.port
        with preferred_listener(state.port if state is not None and same else self.port) as probe:
            return probe.getsockname()[1]

    def _endpoint_key(self) -> str:
        from phi_assets.backends.local.serving.host import LocalEndpointHost

        return LocalEndpointHost(state=self.state).key()

    def _secret(self) -> str:
        """Return the secret that links, cookie and key are made of; made at the first call."""
        file = private_folder(self.folder) / "secret"
        with locked(self.folder / "secret.lock"):
            if not file.exists():
                atomic_write(file, secrets.token_urlsafe(32))
            return file.read_text(encoding="utf-8").strip()

    def _known(self) -> ChatState:
        state = self._read()
        if state is None:
            raise BackendError("there is no chat yet; `phi run` makes it")
        return state

    def _read(self) -> ChatState | None:
        """Return what is deployed; None when there is nothing, or what another release stored: it is deployed again."""
        try:
            fields = read_json(self.folder / "state.json", MEND)
            return ChatState(**{**fields, "options": tuple(fields["options"])})
        except (FileNotFoundError, TypeError, KeyError):
            return None

    def _write(self, state: ChatState) -> None:
        atomic_write(self.folder / "state.json", json.dumps(asdict(state), indent=2))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the chat's lock, so that only one process changes it."""
        with locked(private_folder(self.folder) / "changes.lock"):
            yield

    def _process(self, name: str) -> ServerProcess:
        return ServerProcess(self.folder, name)

    @property
    def _facts(self) -> Path:
        return self.folder / "facts.json"
