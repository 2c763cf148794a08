"""The promotion checks: a model passes only if it is measurably better and keeps its general answers."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from phi_assets.graph import check_gates
from phi_assets.models.promotion_rules import Rules, decide
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.evaluation import Evaluator
from phi_assets.records import Evaluation
from phi_assets.settings import Settings

DESCRIPTIONS = {
    "better_than_base": "Fewer bits per byte than the base on the test split: the 95% bound is below zero.",
    "not_worse_than_champion": "Not clearly worse than the champion: by more than 0.02 bits per byte, on old rows too, "
    "or by more than 5 points of right answers, with 95% bounds that exclude chance.",
    "answers_questions": "Clearly more questions right than with shuffled answer keys, and no fewer than the base.",
    "keeps_general_answers": "Of the general questions that the base answers right, the share still right has a 95% "
    "lower bound of PHI_MIN_GENERAL_KEPT or more.",
    "enough_evidence": "At least 20 groups of test conversations to judge by.",
}


JUDGED_BY = ("promote_on_insufficient_evidence", "min_general_kept", "warn_general_kept")


def promotion_outcomes(report: Mapping[str, Any], settings: Settings) -> dict[str, CheckOutcome]:
    """The outcome of each promotion rule on an evaluation's report, with these settings."""
    rules = Rules(
        least_general_kept=settings.min_general_kept,
        warn_general_kept=settings.warn_general_kept,
        promote_on_insufficient_evidence=settings.promote_on_insufficient_evidence,
    )
    return decide(report, rules)


@dg.multi_asset_check(specs=check_gates.blocking(__name__, "model_evaluation", DESCRIPTIONS, JUDGED_BY))
def promotion(
    model_evaluation: Evaluation, evaluator: Evaluator, catalog: AssetCatalog, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetCheckResult]:
    """The verdict of every promotion rule on this evaluation."""
    for name, outcome in promotion_outcomes(evaluator.report(model_evaluation), settings).items():
        yield check_gates.check_result(catalog, name, "model_evaluation", model_evaluation.digest, outcome)
