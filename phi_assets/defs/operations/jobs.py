"""The jobs, named by what they achieve."""

import dagster as dg

from phi_assets.defs.training.training_config import Training
from phi_assets.graph.asset_facts import LIVE, with_chat
from phi_assets.graph.asset_keys import key_of
from phi_assets.graph.run_tags import schedule_status

everything = dg.define_asset_job(
    "everything",
    selection=dg.AssetSelection.all(),
    description="Materialise the whole graph, from the data to the chat flow.",
)
retrain = dg.define_asset_job(
    "retrain",
    selection=dg.AssetSelection.tag(LIVE, "true") | dg.AssetSelection.assets(key_of("fine_tuned_model")).downstream(),
    # Empty values too: the launchpad then shows every option.
    config={"ops": {"fine_tuned_model": {"config": Training().model_dump()}}},
    description="Train on the newest dataset, evaluate, and deploy what passes. Sensor `retraining_policy` starts it.",
)
redeploy = dg.define_asset_job(
    "redeploy",
    selection=dg.AssetSelection.assets(key_of("online_deployment")).downstream(),
    description="Deploy the champion to the endpoint again, and evaluate the chat flow against it.",
)
_of_the_champion = dg.AssetSelection.assets(key_of("registered_model")).downstream()
promote = dg.define_asset_job(
    "promote",
    selection=_of_the_champion,
    config={"ops": {"registered_model": {"config": {"action": "promote", "version": "", "despite": [], "reason": ""}}}},
    description="Make the version of this number champion, without the promotion checks, and deploy it; with `despite` "
    "the newest evaluated model, which failed the checks named there.",
)
rollback = dg.define_asset_job(
    "rollback",
    selection=_of_the_champion,
    config={"ops": {"registered_model": {"config": {"action": "rollback", "reason": ""}}}},
    description="Withdraw the champion, and deploy the former one. Only `promote` reinstates a withdrawn version.",
)
observe_sources = dg.define_asset_job(
    "observe_sources",
    selection=dg.AssetSelection.assets(
        *map(key_of, ("raw_conversations", "evaluation_questions", "general_questions", "replay_sources")),
        *map(key_of, with_chat("chat_history", "reviewed_feedback")),
    ),
    description="Observe whether conversations, questions, sources of replay, ratings or reviews have changed.",
)
FRESHNESS = (
    ("taken_in", "raw_conversations"),
    ("trained_on_newest_dataset", "fine_tuned_model"),
    ("serves_the_champion", "online_deployment"),
    ("little_drift", "chat_dataset"),
)
freshness = dg.define_asset_job(
    "freshness",
    selection=dg.AssetSelection.checks(*(dg.AssetCheckKey(key_of(asset), name) for name, asset in FRESHNESS)),
    description="Warn of data that is not in the dataset or not trained on, of drift, and of an outdated deployment.",
)

hourly_freshness = dg.ScheduleDefinition(
    name="hourly_freshness",
    job=freshness,
    cron_schedule="0 * * * *",
    default_status=schedule_status(),
    description="Runs the freshness checks every hour; they only warn, and materialise nothing.",
)
