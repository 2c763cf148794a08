"""The Container App that the settings ask for: its image, options, texts, identity and size."""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phi_assets.backends.azure.chat.container_app import IDENTITY_IN_PLACE_OF_SECRET, PORT
from phi_assets.backends.azure.client.rest import Body, properties
from phi_assets.backends.azure.infrastructure.ownership import TAG
from phi_assets.records import ChatApp, Deployment, Endpoint

DIGEST_TAG, MODEL_TAG, VERSION_TAG, ENDPOINT_TAG = (
    "phi-chat",
    "phi-chat-model",
    "phi-chat-version",
    "phi-chat-endpoint",
)
ENDPOINT_KEY = "endpoint-key"
SECONDS_TO_START = 240


@dataclass(frozen=True)
class WantedApp:
    """What decides a revision. `texts` are files' contents by setting; `key` is empty for an endpoint with tokens."""

    image: str
    registry: str
    endpoint: Endpoint
    deployment: Deployment
    facts: str
    options: Sequence[str]
    texts: Mapping[str, str]
    key: str

    @property
    def template_digest(self) -> str:
        """SHA-256 over all that runs in the container, the key left out: a new key is no new program."""
        content = [self.image, self.options, self.facts, sorted(self.texts.items())]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def record(self, digest: str, address: str) -> ChatApp:
        """Return the record of the app at its address."""
        return ChatApp(
            digest=digest,
            address=address,
            endpoint=self.endpoint.address,
            model_name=self.deployment.model_name,
            model_version=self.deployment.model_version,
        )

    def body(
        self, names: Mapping[str, str], tags: Mapping[str, str], old: Body | None, ingress: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """Return the app's body. `names`: location, environment, identity and client_id of that identity."""
        hidden = [{"name": IDENTITY_IN_PLACE_OF_SECRET, "value": names["client_id"]}]
        hidden += [{"name": ENDPOINT_KEY, "value": self.key}] if self.key else []
        configuration: dict[str, Any] = {
            "activeRevisionsMode": "Multiple",
            "maxInactiveRevisions": 5,
            "secrets": hidden,
            "registries": [{"server": self.registry, "identity": names["identity"]}] if self.registry else [],
        }
        if ingress is not None:
            configuration["ingress"] = dict(ingress)
        return {
            "location": names["location"],
            "tags": dict(tags),
            "identity": {"type": "UserAssigned", "userAssignedIdentities": {names["identity"]: {}}},
            "properties": {
                "environmentId": names["environment"],
                "configuration": configuration,
                "template": self._template(names["client_id"], old),
            },
        }

    def _template(self, client_id: str, old: Body | None) -> dict[str, Any]:
        variables = {"AZURE_CLIENT_ID": client_id, "CHAT_FACTS": self.facts}
        variables |= {name.removeprefix("PHI_"): text for name, text in self.texts.items()}
        env = [{"name": name, "value": value} for name, value in sorted(variables.items())]
        env += [{"name": "CHAT_ENDPOINT_KEY", "secretRef": ENDPOINT_KEY}] if self.key else []
        command = ["python", "-m", "chat_code", "--host", "0.0.0.0", "--port", str(PORT), *self.options]
        ready = {"path": "/readyz", "port": PORT}
        return {
            "revisionSuffix": self._suffix(old),
            "containers": [
                {
                    "name": "chat",
                    "image": self.image,
                    "command": command,
                    "env": env,
                    "resources": {"cpu": 0.5, "memory": "1Gi"},
                    "probes": [
                        {
                            "type": "Startup",
                            "httpGet": {**ready, "path": "/livez"},
                            "periodSeconds": 5,
                            "failureThreshold": SECONDS_TO_START // 5,
                        },
                        {"type": "Readiness", "httpGet": ready, "periodSeconds": 10, "failureThreshold": 30},
                    ],
                }
            ],
            # One replica: an answer that is being generated lives in the process that began it.
            "scale": {"minReplicas": 0, "maxReplicas": 1, "cooldownPeriod": 300},
        }

    def _suffix(self, old: Body | None) -> str:
        """Return the revision's suffix: the same content keeps its revision; Azure refuses one that was used before."""
        mark = f"r{self.template_digest[:10]}"
        before = str((properties(old or {}).get("template") or {}).get("revisionSuffix") or "")
        return before if before.startswith(mark) else f"{mark}{secrets.token_hex(2)}"


def tags_of(account: str, digest: str, wanted: WantedApp) -> dict[str, str]:
    """Return the app's tags, from which `record_in` reads the record."""
    return {
        TAG: account,
        DIGEST_TAG: digest,
        MODEL_TAG: wanted.deployment.model_name,
        VERSION_TAG: wanted.deployment.model_version,
        ENDPOINT_TAG: wanted.endpoint.address,
    }


def record_in(app: Body, address: str) -> ChatApp | None:
    """Return the record of what an app serves; None for an app of others."""
    tags = app.get("tags") or {}
    if DIGEST_TAG not in tags:
        return None
    return ChatApp(
        digest=tags[DIGEST_TAG],
        address=address,
        endpoint=tags.get(ENDPOINT_TAG, ""),
        model_name=tags.get(MODEL_TAG, ""),
        model_version=tags.get(VERSION_TAG, ""),
    )
