"""The chat on Azure: a Container App behind Entra sign-in. Nobody reaches it before sign-in is proven to be on."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from phi_assets import bicep_template
from phi_assets.backends import chat_server
from phi_assets.backends.azure.chat import chat_image, forged_header
from phi_assets.backends.azure.chat.app_settings import WantedApp, record_in, tags_of
from phi_assets.backends.azure.chat.container_app import PORT, ContainerApp, SignIn, ingress
from phi_assets.backends.azure.client import names, outputs, rest
from phi_assets.backends.azure.client.account import SUBSCRIPTION
from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.outputs import CHAT, NotDeployed
from phi_assets.backends.azure.client.rest import Body, properties
from phi_assets.backends.azure.client.retry import log_to_run, with_retries
from phi_assets.errors import BackendError
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.base import Decides, Log, no_log
from phi_assets.ports.chat import ChatHost
from phi_assets.records import BaseModel, ChatApp, Deployment, Endpoint

SCORE = bicep_template.Grant(
    "chat", "online_endpoint", "AzureML Data Scientist", "f6c7c914-8db3-469d-8ca1-694a8f32e121"
)
ROLES_VERSION = "2022-04-01"
CLOSED = "its ingress is closed"
MOST_TEXT = 100_000  # characters of an environment variable, of Linux's 128 KiB


class AzureChatHost(ChatHost):
    """Deploys revisions of one Container App. It has no replica while nobody asks, and is never started or stopped."""

    decides: ClassVar = {
        "chat_app": Decides(
            modules=("azure.chat.app_settings", "azure.chat.container_app", "azure.chat.chat_image", "chat_server"),
            programs=("chat_code", "chat_code/environment"),
            settings=(*SUBSCRIPTION, "azure_chat_client_id", "azure_chat_image", "azure_endpoint_auth"),
        )
    }
    account: dict[str, str]
    client_id: str
    image: str | None
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
    role_minutes: float

    def deploy(
        self, endpoint: Endpoint, deployment: Deployment, base_model: BaseModel, key: str, log: Log = no_log
    ) -> ChatApp:
        del base_model  # it is compared on laptops only: here a second machine would cost money around the clock
        app, found = ContainerApp(self._clients, log), self._resources()
        wanted = self._wanted(endpoint, deployment, key, log)
        digest = hashlib.sha256(f"{wanted.template_digest}\n{deployment.digest}".encode()).hexdigest()
        if not key:
            self._let_score(found, log)
        old = app.read()
        tags = tags_of(self._clients.account.name, digest, wanted)
        if old is not None and ingress(old) and not self._sign_in.is_on(app.sign_in()):
            log("the sign-in is not as it was deployed: closing the ingress before anything else")
            app.close_ingress()
            old = app.read()
        serving = self._serving(old)
        if not serving:
            old = app.put(wanted.body(found, tags, old, None))
        app.put_sign_in(self._sign_in)
        # Until the new revision has proven itself, the old one has all the traffic.
        current = app.put(wanted.body(found, tags, old, _ingress(serving or _newest(old))))
        new = _newest(current)
        app.await_revision(new)
        domain = str(ingress(current)["fqdn"]).partition(".")[2]
        try:
            self._prove(app, f"https://{new}.{domain}", log)
        except BackendError:
            if serving and serving != new:
                app.deactivate([new])
            raise
        current = app.put(wanted.body(found, tags, current, _ingress(new)))
        address = _address(current)
        self._require_refused(app, address)
        app.deactivate([name for name in app.active_revisions() if name != new])
        log(f"the chat is on {address}: people of this tenant who are assigned to the app registration can sign in")
        return wanted.record(digest, address)

    def find(self, digest: str) -> ChatApp | None:
        app = ContainerApp(self._clients, log_to_run)
        found = app.read()
        if found is None or not ingress(found) or not self._sign_in.is_on(app.sign_in()):
            return None
        record = record_in(found, _address(found))
        return record if record and record.digest == digest else None

    def missing_reason(self, digest: str) -> str:
        app = ContainerApp(self._clients, log_to_run)
        found = app.read()
        if found is None:
            return "the Container App does not exist"
        if not ingress(found):
            return CLOSED
        if not self._sign_in.is_on(app.sign_in()):
            return "the sign-in is not as it was deployed"
        return "the Container App serves something else"

    def start(self, log: Log = no_log, *, base: bool = False) -> None:
        if base:
            raise BackendError("the base model is compared on a laptop only: on Azure it has no machine")
        outcome = self.examine().get("forged_header_refused")
        if outcome and not outcome.passed:
            log(outcome.description)

    def stop(self, log: Log = no_log) -> None:
        """Do nothing: without questions it has no replica and costs nothing."""

    def status(self) -> dict[str, Any]:
        try:
            outcome = self.examine().get("forged_header_refused")
        except NotDeployed:
            outcome = None
        found = ContainerApp(self._clients, log_to_run).read()
        address = _address(found) if found and ingress(found) else None
        return {"address": address, "alive": bool(address and outcome and outcome.passed), "base": False}

    def examine(self) -> Mapping[str, CheckOutcome]:
        """Send a forged principal from outside; an answer but 401 or 302 closes the ingress."""
        app = ContainerApp(self._clients, log_to_run)
        found = app.read()
        if found is None:
            return {}
        if not ingress(found):
            return {"forged_header_refused": CheckOutcome(False, f"{CLOSED}; `phi run` opens it when sign-in is on")}
        try:
            self._require_refused(app, _address(found))
        except AzureRefused as e:
            return {"forged_header_refused": CheckOutcome(False, str(e))}
        return {"forged_header_refused": CheckOutcome(True, "a forged principal was answered 401 or 302 on every path")}

    def link(self) -> str:
        address = self.status()["address"]
        if address is None:
            raise BackendError("the chat is not open; `phi run` deploys it")
        return str(address)

    def key(self) -> str:
        """Return an Entra token of the signed-in person, for an hour at most: there are no keys."""
        scope = f"api://{self.client_id}/.default"
        return str(
            with_retries(
                "requesting a token for the chat", lambda: self._clients.credential().get_token_info(scope)
            ).token
        )

    def _prove(self, app: ContainerApp, address: str, log: Log) -> None:
        """Let a revision refuse a forged principal and answer one question with a token for it. Raises BackendError."""
        self._require_refused(app, address)
        began = time.monotonic()
        while True:
            try:
                said = chat_server.ask(address, self.key(), direct=False)
            except BackendError as e:
                # A new role of its identity on the endpoint may not have arrived.
                if time.monotonic() - began > self.role_minutes * 60 or "401" not in str(e):
                    raise
                time.sleep(5.0)
                continue
            log(f"the new revision answered {chat_server.QUESTION!r} with {said[:80]!r}")
            return

    def _require_refused(self, app: ContainerApp, address: str) -> None:
        """Raise AzureRefused, after closing the ingress, unless a forged principal is refused at the address."""
        wrong = forged_header.let_in(address, self._sign_in.tenant)
        if wrong:
            app.close_ingress()
            raise AzureRefused(
                description=f"a forged principal was not refused at {address} ({wrong}): anyone could have read "
                "conversations, and so the ingress is closed now. Look at the app's page Authentication in the portal; "
                "`phi run` configures the sign-in and opens it again",
                allow_retries=False,
            )

    def _wanted(self, endpoint: Endpoint, deployment: Deployment, key: str, log: Log) -> WantedApp:
        texts = chat_server.texts_of(self.system_prompt, self.words)
        facts = json.dumps(self._facts(deployment), sort_keys=True)
        for name, text in {**texts, "PHI_EVALUATION_QUESTIONS": facts}.items():
            if len(text.encode()) > MOST_TEXT:
                raise BackendError(
                    f"{name}: its text has over {MOST_TEXT:,} bytes, which no container takes; shorten it"
                )
        registry = f"{self._clients.resource('container_registry').rpartition('/')[2].lower()}.azurecr.io"
        image = self.image or chat_image.ensure(self._clients, log)
        return WantedApp(
            image=image,
            registry=registry if image.startswith(f"{registry}/") else "",
            endpoint=endpoint,
            deployment=deployment,
            facts=facts,
            options=self._options(endpoint, key),
            texts=texts,
            key=key,
        )

    def _options(self, endpoint: Endpoint, key: str) -> list[str]:
        database = names.names(self._clients.account)["chat_database"]
        options = ["--cosmos", f"https://{database}.documents.azure.com:443/", "--tenant", self._sign_in.tenant]
        options += ["--endpoint", endpoint.address, *([] if key else ["--endpoint-token"])]
        options += ["--max-tokens", str(self.max_tokens), "--temperature", f"{self.temperature:g}"]
        options += ["--answers", str(self.answers_at_once), "--day-requests", str(self.day_requests)]
        options += ["--day-tokens", str(self.day_tokens), "--keep-days", f"{self.keep_days:g}"]
        return [*options, *self.content_safety]

    def _facts(self, deployment: Deployment) -> dict[str, Any]:
        served = {
            "model_digest": deployment.model_digest,
            "dataset_digest": deployment.dataset_digest,
            "dagster_run": deployment.training_run,
        }
        name, version = deployment.model_name, deployment.model_version
        return {
            "models": {"tuned": {"name": name, "version": version, "deployment": deployment.name, "since": None}},
            "examples": chat_server.examples(self.questions_file),
            "versions": {version: {"served": served, "facts": []}},
        }

    def _let_score(self, found: Mapping[str, str], log: Log) -> None:
        """Give the chat's identity a role on the endpoint, and on nothing else of the workspace."""
        of = self._clients
        endpoint = f"{of.resource('ml_workspace')}/onlineEndpoints/{names.endpoint_name(of.account)}"
        name = bicep_template.role_assignment_name(endpoint, found["identity"], SCORE)
        address = f"{endpoint}/providers/Microsoft.Authorization/roleAssignments/{name}"
        if rest.get_or_none(of, address, ROLES_VERSION):
            return
        log(f"giving the role {SCORE.role} on the endpoint to the chat's identity")
        role = f"/subscriptions/{of.account.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/"
        body = {
            "properties": {
                "roleDefinitionId": role + SCORE.role_id,
                "principalId": found["principal"],
                "principalType": "ServicePrincipal",
            }
        }
        with_retries("giving a role", lambda: of.send("PUT", f"{address}?api-version={ROLES_VERSION}", body), log)

    def _resources(self) -> dict[str, str]:
        """Return what the deployment of infra/chat.bicep made. Raises NotDeployed."""
        found = self._clients.outputs(CHAT)
        identity = found and rest.get_or_none(
            self._clients,
            found.resources["chat_identity"],
            bicep_template.api_version("Microsoft.ManagedIdentity/userAssignedIdentities"),
        )
        if not found or not identity:
            raise outputs.NotDeployed(
                description="the chat's resources were not deployed; materialise chat_environment first",
                allow_retries=False,
            )
        return {
            "location": self._clients.account.location,
            "environment": found.resources["chat_environment"],
            "identity": found.resources["chat_identity"],
            "client_id": str(properties(identity)["clientId"]),
            "principal": str(properties(identity)["principalId"]),
        }

    @staticmethod
    def _serving(app: Body | None) -> str:
        """Return the revision that has the traffic; empty where nobody is served."""
        rows = ingress(app or {}).get("traffic") or []
        return next((str(row["revisionName"]) for row in rows if row.get("revisionName") and row.get("weight")), "")

    @property
    def _sign_in(self) -> SignIn:
        return SignIn(self.client_id, self._clients.principal().tenant_id)

    @property
    def _clients(self) -> AzureClients:
        return clients(self.account)


def _newest(app: Body | None) -> str:
    return str(properties(app or {}).get("latestRevisionName") or "")


def _address(app: Body) -> str:
    return f"https://{ingress(app)['fqdn']}"


def _ingress(revision: str) -> dict[str, Any]:
    return {
        "external": True,
        "allowInsecure": False,
        "targetPort": PORT,
        "transport": "auto",
        "traffic": [{"revisionName": revision, "weight": 100}],
    }
