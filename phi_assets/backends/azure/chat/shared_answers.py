"""Answers that `phi ask` stored, in the workspace's container: a blob for each, by the day on which it was given."""

import dataclasses
import hashlib
import json
import time
from datetime import UTC, datetime

from phi_assets.answer_log import Answers
from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.storage.blob import NoDatastore, WorkspaceBlobs
from phi_assets.ports.chat import SharedAnswers
from serving_code.answers import DAY, StoredAnswer

ROOT = "phi/answers/"


class AzureAnswers(SharedAnswers):
    """Does not wait for roles: a user waits for the command."""

    account: dict[str, str]

    def share(self, answer: StoredAnswer, days: float) -> None:
        if days > 0:
            values = {name: value for name, value in dataclasses.asdict(answer).items() if name != "number"}
            self._blobs.create(_name(answer.id, answer.at), json.dumps(values).encode())
        self._sweep(days)

    def fetch(self, answers: Answers) -> None:
        known = {_name(answer_id, at) for answer_id, at in answers.ids()}
        missing = [name for name in self._sweep(answers.days) if name not in known]
        found = [StoredAnswer(**json.loads(content)) for content in map(self._blobs.read, missing) if content]
        answers.add(sorted(found, key=lambda each: each.at))

    def _sweep(self, days: float) -> list[str]:
        """Delete expired answers, and return the names of the others."""
        try:
            names = self._blobs.names(ROOT)
        except (NoDatastore, NotDeployed):
            return []
        first = _day(time.time() - days * DAY) if days > 0 else "9"  # later than any day
        kept = [name for name in names if name.removeprefix(ROOT) >= first]
        for name in set(names) - set(kept):
            self._blobs.remove(name)
        return kept

    @property
    def _blobs(self) -> WorkspaceBlobs:
        return WorkspaceBlobs(clients(self.account), log_to_run, role_minutes=0.0)


def _name(answer_id: str, at: float) -> str:
    mark = hashlib.sha256(f"{answer_id}\n{at!r}".encode()).hexdigest()[:32]
    return f"{ROOT}{_day(at)}/{mark}.json"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
