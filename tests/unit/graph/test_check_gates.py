"""What opens a gate: a verdict in the catalog, by the rules of now, and on a quota not longer ago than a day."""

import dataclasses
from pathlib import Path

import pytest

import phi_assets.defs.dataset.checks
import phi_assets.defs.infrastructure.gpu_quota  # both declare blocking checks
from phi_assets.backends.local.operations.asset_catalog import HomeCatalog
from phi_assets.graph import check_gates
from phi_assets.graph.check_gates import NotPassed, require_passed
from phi_assets.outcome import CheckOutcome
from phi_assets.settings import current

SUBJECT = "d" * 64
QUOTA, DATASET = "gpu_quota", "chat_dataset"
assert phi_assets.defs.infrastructure.gpu_quota.DESCRIPTIONS
assert phi_assets.defs.dataset.checks.DESCRIPTIONS


@pytest.fixture
def catalog(tmp_path: Path) -> HomeCatalog:
    made = HomeCatalog(state=str(tmp_path))
    for asset in (QUOTA, DATASET):
        for name in check_gates.BLOCKING[asset]:
            check_gates.check_result(made, name, asset, SUBJECT, CheckOutcome(True, "fine"))
    return made


def aged(catalog: HomeCatalog, asset: str, hours: float) -> None:
    found = catalog.verdicts(asset, SUBJECT).values()
    catalog.judge([dataclasses.replace(each, at=each.at - hours * 3600) for each in found])


def test_a_verdict_on_a_quota_counts_for_a_day_and_its_age_is_said(catalog: HomeCatalog):
    require_passed(catalog, QUOTA, SUBJECT)
    aged(catalog, QUOTA, 23)
    require_passed(catalog, QUOTA, SUBJECT)
    aged(catalog, QUOTA, 2)

    with pytest.raises(NotPassed, match=r"enough_quota judged .* 25 hours ago.*materialise gpu_quota"):
        require_passed(catalog, QUOTA, SUBJECT)
    assert check_gates.missing_and_failed(catalog, QUOTA, SUBJECT) == ([], [])  # nothing is stale because of it


def test_a_verdict_on_content_has_no_age(catalog: HomeCatalog):
    aged(catalog, DATASET, 10_000)
    require_passed(catalog, DATASET, SUBJECT)


def test_a_stricter_threshold_reopens_the_question(catalog: HomeCatalog, monkeypatch: pytest.MonkeyPatch):
    stricter = current().model_copy(update={"min_rows": current().min_rows + 1})
    monkeypatch.setattr(check_gates, "current", lambda: stricter)
    with pytest.raises(NotPassed, match="has not judged"):
        require_passed(catalog, DATASET, SUBJECT)
