"""Jobs named for what people want done."""

import dagster as dg

from phi_assets.defs.operations.cloud_jobs import CLOUD_JOBS

everything = dg.define_asset_job(
    "everything", selection=dg.AssetSelection.all(), description="Make the whole graph, from the data to the chat flow."
)
retrain = dg.define_asset_job(
    "retrain",
    selection=dg.AssetSelection.assets("chat_dataset").downstream(),
    description="Take the conversations as they are now, train, evaluate, and deploy what passes the gate.",
)
redeploy = dg.define_asset_job(
    "redeploy",
    selection=dg.AssetSelection.assets("online_deployment").downstream(),
    description="Put the champion behind the endpoint again, and examine the chat flow against it.",
)
observe_sources = dg.define_asset_job(
    "observe_sources",
    selection=dg.AssetSelection.assets("raw_conversations", "evaluation_questions"),
    description="Look whether the conversations or the evaluation questions have changed.",
)

JOBS = (everything, retrain, redeploy, observe_sources, *CLOUD_JOBS)
