"""The jobs, named by what they achieve."""

import dagster as dg

from phi_assets.defs.operations.answer_lineage import why
from phi_assets.defs.operations.azure_operations import CLOUD_JOBS
from phi_assets.defs.operations.candidates import candidate
from phi_assets.defs.operations.freshness_checks import CHECKS
from phi_assets.graph import check_gates
from phi_assets.graph.catalog import has

everything = dg.define_asset_job(
    "everything",
    selection=dg.AssetSelection.all(),
    description="Materialise the whole graph, from the data to the chat flow.",
)
_judged_now = [name for name in check_gates.LIVE if has([name])]
retrain = dg.define_asset_job(
    "retrain",
    selection=dg.AssetSelection.assets(*_judged_now) | dg.AssetSelection.assets("fine_tuned_model").downstream(),
    description="Train on the newest dataset, evaluate, and deploy what passes. Sensor `retraining_policy` starts it.",
)
redeploy = dg.define_asset_job(
    "redeploy",
    selection=dg.AssetSelection.assets("online_deployment").downstream(),
    description="Deploy the champion to the endpoint again, and evaluate the chat flow against it.",
)
_of_the_champion = dg.AssetSelection.assets("registered_model").downstream()
promote = dg.define_asset_job(
    "promote",
    selection=_of_the_champion,
    config={"ops": {"registered_model": {"config": {"action": "promote", "version": "", "reason": ""}}}},
    description="Make the version of this number champion, without the promotion checks, and deploy it.",
)
rollback = dg.define_asset_job(
    "rollback",
    selection=_of_the_champion,
    config={"ops": {"registered_model": {"config": {"action": "rollback", "reason": ""}}}},
    description="Withdraw the champion, and deploy the former one. Only `promote` reinstates a withdrawn version.",
)
observe_sources = dg.define_asset_job(
    "observe_sources",
    selection=dg.AssetSelection.assets("raw_conversations", "evaluation_questions"),
    description="Observe whether the conversations or the evaluation questions have changed.",
)
freshness = dg.define_asset_job(
    "freshness",
    selection=dg.AssetSelection.checks(*(key for check in CHECKS for key in check.check_keys)),
    description="Warn of data that is not in the dataset or not trained on, of drift, and of an outdated deployment.",
)

JOBS = (everything, retrain, redeploy, promote, rollback, observe_sources, freshness, candidate, why, *CLOUD_JOBS)
