"""The project's records of trainings that ran as jobs."""

import json

import pytest

from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.training import tracking
from phi_assets.backends.azure.training.trainer import JOB
from phi_assets.backends.documents import FolderDocuments
from tests.support.fake_records import a_model


@pytest.mark.parametrize("submitted", [1_700_000_000.0, None])
def test_a_training_began_when_its_job_was_submitted_where_that_is_known(tmp_path, monkeypatch, submitted):
    stored = FolderDocuments(tmp_path / "shared")
    monkeypatch.setattr(tracking, "BlobDocuments", lambda *_: stored)
    job = {"name": "phi-train-x-1", "studio": "", "submitted": submitted}
    report = {"config": {"epochs": 1}, "seconds": 60.0, "losses": []}
    (tmp_path / JOB).write_text(json.dumps(job), encoding="utf-8")
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    account = AzureAccount("00000000-0000-0000-0000-000000000000", "eastus2", "phi", "keyless", str(tmp_path))
    trainings = tracking.Trainings(clients(account.fields), tmp_path, 0)

    trainings.log_training(a_model("a" * 8, "there"), tmp_path, {})

    (found,) = trainings.all()
    assert found.began == (submitted or (tmp_path / JOB).stat().st_mtime - 60.0)
