"""A failed blocking check that a person overrules for one version of an asset."""

from pathlib import Path

import pytest

import phi_assets.defs.evaluation.checks  # declares the promotion checks
from phi_assets.backends.local.operations.asset_catalog import HomeCatalog
from phi_assets.defs.evaluation.promotion_config import Promotion, override
from phi_assets.graph import check_gates
from phi_assets.models.champions import CannotPromote
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.records import Evaluation

SUBJECT = "e" * 64
FORGOT = CheckOutcome(False, "keeps 60% of 248", {"kept": 0.6})
EVALUATION = Evaluation(digest=SUBJECT, address="", model_digest="m", dataset_digest="d", champion=None)
assert phi_assets.defs.evaluation.checks.DESCRIPTIONS


@pytest.fixture
def catalog(tmp_path: Path) -> AssetCatalog:
    made = HomeCatalog(state=str(tmp_path))
    for name in check_gates.BLOCKING["model_evaluation"]:
        outcome = FORGOT if name == "keeps_general_answers" else CheckOutcome(True, "fine")
        check_gates.check_result(made, name, "model_evaluation", SUBJECT, outcome)
    return made


def test_a_check_that_failed_passes_from_then_on_and_says_why(catalog: AssetCatalog):
    with pytest.raises(check_gates.NotPassed, match="keeps_general_answers failed"):
        check_gates.require_passed(catalog, "model_evaluation", SUBJECT)

    check_gates.override(catalog, "model_evaluation", SUBJECT, ["keeps_general_answers"], "run 1, it may forget")

    check_gates.require_passed(catalog, "model_evaluation", SUBJECT)
    verdict = catalog.verdicts("model_evaluation", SUBJECT)["keeps_general_answers"]
    assert verdict.passed
    assert "it may forget" in verdict.description
    assert "keeps 60% of 248" in verdict.description
    assert verdict.numbers["overridden"] == "run 1, it may forget"
    assert verdict.numbers["kept"] == 0.6


def test_only_the_named_checks_of_the_one_version_are_overruled(catalog: AssetCatalog):
    check_gates.check_result(catalog, "enough_evidence", "model_evaluation", SUBJECT, CheckOutcome(False, "3 groups"))
    check_gates.override(catalog, "model_evaluation", SUBJECT, ["keeps_general_answers"], "why")
    with pytest.raises(check_gates.NotPassed, match="enough_evidence failed") as refused:
        check_gates.require_passed(catalog, "model_evaluation", SUBJECT)
    assert "keeps_general_answers" not in str(refused.value.description)
    with pytest.raises(check_gates.NotPassed, match="has not judged"):
        check_gates.require_passed(catalog, "model_evaluation", "f" * 64)


@pytest.mark.parametrize(
    ("name", "reason"), [("better_than_base", "passed on"), ("beter", "has not judged"), ("schema", "has not judged")]
)
def test_a_check_that_did_not_fail_cannot_be_overruled(catalog: AssetCatalog, name: str, reason: str):
    with pytest.raises(check_gates.NotPassed, match=f"check {name} {reason} .*failed checks: keeps_general_answers"):
        check_gates.override(catalog, "model_evaluation", SUBJECT, [name], "why")
    assert not catalog.verdicts("model_evaluation", SUBJECT)["keeps_general_answers"].passed


def test_the_verdict_is_judged_again_when_the_rules_change(catalog: AssetCatalog, monkeypatch: pytest.MonkeyPatch):
    check_gates.override(catalog, "model_evaluation", SUBJECT, ["keeps_general_answers"], "why")
    monkeypatch.setattr(check_gates, "rules_of", lambda *_: "other rules")
    assert "keeps_general_answers" in check_gates.missing_verdicts(catalog, "model_evaluation", SUBJECT)


def test_the_job_records_how_the_version_was_promoted(catalog: AssetCatalog):
    config = Promotion(action="promote", despite=["keeps_general_answers"], reason=" it answers about lamps ")
    how = override(config, catalog, EVALUATION, "0123456789")
    assert how == "promoted by hand despite keeps_general_answers: it answers about lamps"
    assert "run 01234567" in catalog.verdicts("model_evaluation", SUBJECT)["keeps_general_answers"].description


def test_the_job_overrules_nothing_when_it_rolls_back(catalog: AssetCatalog):
    config = Promotion(action="rollback", despite=["keeps_general_answers"], reason="why")
    with pytest.raises(CannotPromote, match="goes with action `promote` only"):
        override(config, catalog, EVALUATION, "run")
    assert not catalog.verdicts("model_evaluation", SUBJECT)["keeps_general_answers"].passed


@pytest.mark.parametrize(
    ("given", "message"),
    [({"reason": " "}, "needs a reason"), ({"reason": "why", "version": "2"}, "both a version and")],
)
def test_the_job_wants_a_reason_and_no_version(catalog: AssetCatalog, given: dict[str, str], message: str):
    with pytest.raises(CannotPromote, match=message):
        override(Promotion(action="promote", despite=["keeps_general_answers"], **given), catalog, EVALUATION, "run")
