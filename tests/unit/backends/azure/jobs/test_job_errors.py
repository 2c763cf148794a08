"""The reason why a job failed, from a run history service that returns malformed responses."""

from types import SimpleNamespace
from typing import Any

import azure.core
import pytest

from phi_assets.backends.azure.client import retry
from phi_assets.backends.azure.client.clients import PIPELINE
from phi_assets.backends.azure.jobs import job_errors


class Answering:
    """A client of Azure's whose every answer is the same; it remembers with which time-outs it was made."""

    made: list[dict[str, Any]]
    answer: Any

    def __init__(self, address: str, policies: Any, **options: Any) -> None:
        del address, policies
        self.made.append(options)

    def __enter__(self) -> "Answering":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send_request(self, request: Any) -> Any:
        def as_json() -> Any:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return SimpleNamespace(raise_for_status=lambda: None, json=as_json)


@pytest.mark.parametrize("answer", [ValueError("not JSON"), [], {"other": 1}, None], ids=str)
def test_an_answer_that_is_no_list_of_addresses_or_no_error_ends_nothing(monkeypatch, answer):
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)
    monkeypatch.setattr(job_errors, "ERROR_MINUTES", 0.0)
    monkeypatch.setattr(job_errors, "_histories", {})
    monkeypatch.setattr(job_errors.rest, "workspace_id", lambda _: "/w")
    monkeypatch.setattr(azure.core, "PipelineClient", Answering)
    Answering.made, Answering.answer = [], answer
    clients: Any = SimpleNamespace(
        account=SimpleNamespace(location="eastus2"),
        get=lambda _: {"properties": {"discoveryUrl": "https://eastus2.api.azureml.ms/discovery"}},
        credential=lambda: None,
    )
    assert job_errors.job_error(clients, "phi-1", print) == ""
    assert all(options == PIPELINE for options in Answering.made)
    assert len(Answering.made) >= 2
