"""The home's records of trainings that ran as jobs."""

import json

import pytest

from phi_assets.backends.azure.training import tracking
from phi_assets.backends.azure.training.trainer import JOB
from tests.support.fake_records import a_model


@pytest.mark.parametrize("submitted", [1_700_000_000.0, None])
def test_a_training_began_when_its_job_was_submitted_where_that_is_known(tmp_path, submitted):
    job = {"name": "phi-train-x-1", "studio": "", "submitted": submitted}
    report = {"config": {"epochs": 1}, "seconds": 60.0, "losses": []}
    (tmp_path / JOB).write_text(json.dumps(job), encoding="utf-8")
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    tracking.log_training(tmp_path, a_model("a" * 8, "there"), tmp_path, {})
    (found,) = tracking.trainings(tmp_path)
    assert found.began == (submitted or (tmp_path / JOB).stat().st_mtime - 60.0)
