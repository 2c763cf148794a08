"""Chat flows on Azure: they run on this machine, and what they made is shared in blob storage."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from phi_assets.backends import content_store
from phi_assets.backends.azure.chat.connection_store import AzureConnectionStore
from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.storage.shared_folders import FLOW_EVALUATIONS, FLOWS, SharedFolders
from phi_assets.backends.flow_store import PromptFlowStore
from phi_assets.ports.base import Decides, Log
from phi_assets.ports.chat import FlowStore
from phi_assets.records import Connection, Deployment, FlowEvaluation, FlowPackage


class AzureFlowStore(FlowStore):
    """A PromptFlowStore of this home, whose packages and evaluations every machine of the project finds."""

    account: dict[str, str]
    state: str
    concurrency: int
    sign_in: str
    signs_in: bool = False
    role_minutes: float = 30.0

    def decided_by(self, asset: str) -> Decides | None:
        found = self._here.decided_by(asset)
        return found and replace(found, modules=(*found.modules, type(self).__module__))

    def find(self, digest: str) -> FlowPackage | FlowEvaluation | None:
        here = self._here.find(digest)
        if isinstance(here, FlowPackage | FlowEvaluation):
            return here
        package = self._packages.find(digest)
        if isinstance(package, FlowPackage):
            return replace(package, address=str(self._here.packages / digest))
        evaluation = self._evaluations.find(digest)
        if isinstance(evaluation, FlowEvaluation):
            return replace(evaluation, address=str(content_store.place(self._here.evaluations, digest)))
        return None

    def package(self, connection: Connection, log: Log) -> FlowPackage:
        self._connect(log)
        package = self._here.package(connection, log)
        self._packages.put(package, Path(package.address))
        return package

    def evaluate(
        self, package: FlowPackage, deployment: Deployment, questions: Path | None, log: Log
    ) -> FlowEvaluation:
        self._connect(log)
        evaluation = self._here.evaluate(self._fetched(package), deployment, questions, log)
        self._evaluations.put(evaluation, Path(evaluation.address))
        return evaluation

    def ask(
        self, package: FlowPackage, conversations: Sequence[Sequence[dict[str, Any]]], max_tokens: int, log: Log
    ) -> list[str]:
        self._connect(log)
        return self._here.ask(self._fetched(package), conversations, max_tokens, log)

    def _fetched(self, package: FlowPackage) -> FlowPackage:
        """The package in this home, downloaded if another machine made it."""
        here = self._here.find(package.digest)
        if isinstance(here, FlowPackage):
            return here
        folder = self._here.packages / package.digest
        self._packages.download(package.digest, folder)
        return replace(package, address=str(folder))

    def _connect(self, log: Log) -> None:
        store = AzureConnectionStore(account=self.account, state=self.state, role_minutes=self.role_minutes)
        store.copy_to_home(log)

    @property
    def _here(self) -> PromptFlowStore:
        return PromptFlowStore(
            state=self.state, concurrency=self.concurrency, sign_in=self.sign_in, signs_in=self.signs_in
        )

    @property
    def _packages(self) -> SharedFolders:
        return SharedFolders(clients(self.account), FLOWS, self.role_minutes)

    @property
    def _evaluations(self) -> SharedFolders:
        return SharedFolders(clients(self.account), FLOW_EVALUATIONS, self.role_minutes)
