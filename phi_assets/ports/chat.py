"""The chat flow and its connection to the endpoint."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets import records
from phi_assets.answer_log import Answers
from phi_assets.conversations.feedback.rated_answers import Candidate
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.base import Log, Port, no_log
from serving_code.answers import StoredAnswer


class ConnectionStore(Port):
    """Prompt flow connections."""

    @abstractmethod
    def connect(self, endpoint: records.Endpoint, key: str, log: Log = no_log) -> records.Connection:
        """Create or update the connection to the endpoint.

        It holds the current key, or none if the endpoint takes Entra tokens.
        """


class ChatHost(Port):
    """The chat page and its server."""

    @abstractmethod
    def deploy(
        self,
        endpoint: records.Endpoint,
        deployment: records.Deployment,
        base_model: records.BaseModel,
        key: str,
        log: Log = no_log,
    ) -> records.ChatApp:
        """Serve the chat over the endpoint with the current settings.

        A trial server answers one question first; if it does not, the one that runs goes on. Raises BackendError.
        """

    @abstractmethod
    def start(self, log: Log = no_log, *, base: bool = False) -> None:
        """Start the recorded server if it does not run, and with `base` the base model's beside it.

        Raises EndpointDown. Nothing happens before the first `deploy`.
        """

    @abstractmethod
    def stop(self, log: Log = no_log) -> None:
        """Stop the servers. The history stays."""

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """Return the address, which is None before the first `deploy`, and whether it answers."""

    def examine(self) -> Mapping[str, CheckOutcome]:
        """Return the outcome of each live check of the app, by check name; empty on a laptop."""
        return {}

    @abstractmethod
    def link(self) -> str:
        """Return an address that opens the page: on a laptop once, for a few minutes."""

    @abstractmethod
    def key(self) -> str:
        """Return the key for other programs, which ask `<address>/v1`; on Azure a token of the signed-in person."""


@dataclass(frozen=True)
class Forgotten:
    """What was deleted, and what still holds words of it: datasets and models by digest, and copies of databases.

    `history` is where the conversations themselves still are, when only their people may delete them.
    """

    conversations: int
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    copies: tuple[str, ...] = ()
    history: str = ""


class FeedbackStore(Port):
    """Ratings of the chat's answers, their reviews by people, and the conversations that come of them."""

    @abstractmethod
    def rated(self) -> str:
        """Return a SHA-256 over the ratings that their users let be used; a chat without new ones changes nothing."""

    @abstractmethod
    def collect(self, log: Log) -> records.FeedbackCandidates:
        """Put the ratings, masked and once each, into the review queue; take out what was withdrawn."""

    @abstractmethod
    def reviewed(self) -> str:
        """Return a SHA-256 over the finished reviews."""

    @abstractmethod
    def publish(self, dataset_rows: int | None, log: Log) -> records.FeedbackConversations:
        """Write the approved conversations as the file that `raw_conversations` reads.

        They are at most a share of `dataset_rows`, the conversations of the newest dataset; None: any number.
        """

    @abstractmethod
    def review_page(self, log: Log = no_log) -> str:
        """Return the address of the page where people decide; starts its server.

        Raises EndpointDown or BackendError.
        """

    @abstractmethod
    def stop(self, log: Log = no_log) -> None:
        """Stop the page's server."""

    @abstractmethod
    def forget(self, conversation: str | None, user: str | None, log: Log) -> Forgotten:
        """Delete conversations of the chat, of one id and of one person or of all, and what was made of them.

        Later datasets are without them, wherever a copy comes from. Raises BackendError.
        """

    @abstractmethod
    def candidates(self, record: records.FeedbackCandidates) -> list[Candidate]:
        """Return the candidates of a record."""


class SharedAnswers(dg.ConfigurableResource, ABC):
    """Answers that `phi ask` stored, for all machines of a project. Each home searches its own copies of them.

    A backend whose servers store the answers has none.
    """

    @abstractmethod
    def share(self, answer: StoredAnswer, days: float) -> None:
        """Store the answer, and delete those older than `days`. Raises BackendError."""

    @abstractmethod
    def fetch(self, answers: Answers) -> None:
        """Add what other machines shared to a home's answers, and delete what expired. Raises BackendError."""


class AgentStore(Port):
    """Evaluations of the chat's agent."""

    @abstractmethod
    def evaluate(
        self, endpoint: records.Endpoint, key: str, deployment: records.Deployment, questions: Path | None, log: Log
    ) -> records.AgentEvaluation:
        """Ask the agent all questions, one at a time. A question that fails is part of the result."""

    @abstractmethod
    def rows(self, evaluation: records.AgentEvaluation) -> list[dict[str, Any]]:
        """Return a row for each question, in their order: messages, answer, error, and how it was marked."""


class FlowStore(Port):
    """Packaged chat flows, and batch runs over them."""

    @abstractmethod
    def package(self, connection: records.Connection, log: Log) -> records.FlowPackage:
        """Package the chat flow as a folder.

        Before that it answers one question without and one with history at the live endpoint.
        """

    @abstractmethod
    def evaluate(
        self, package: records.FlowPackage, deployment: records.Deployment, questions: Path | None, log: Log
    ) -> records.FlowEvaluation:
        """Run the flow over all questions. A row that fails is part of the result and does not end the run."""

    @abstractmethod
    def ask(
        self, package: records.FlowPackage, conversations: Sequence[Sequence[dict[str, Any]]], max_tokens: int, log: Log
    ) -> list[str]:
        """Return the flow's answers at temperature 0 to conversations that end in a question, asked one at a time.

        Raises BackendError.
        """
