"""Which run deployed a model, by the event log."""

import dagster as dg

from phi_assets.lineage.events import DEPLOYMENT, Deployed, deployed

MADE = {"model_name": "phi-chat", "model_version": "2", "model_digest": "d2"}


def test_a_deployment_that_was_adopted_is_of_the_run_and_the_time_that_made_it():
    with dg.DagsterInstance.ephemeral() as instance:
        for number, at in ((2, 1_000.0), (3, 2_000.0)):
            record = MADE | {"model_version": str(number), "model_digest": f"d{number}"}
            metadata = {
                "adopted": True,
                "made_at": dg.MetadataValue.timestamp(at),
                "made_by_run": f"run {number}",
                "record": dg.MetadataValue.json(record),
            }
            instance.report_runless_asset_event(dg.AssetMaterialization(DEPLOYMENT, metadata=metadata))

        assert deployed(instance, "phi-chat 2", "d2", 1_500.0) == Deployed(1_000.0, "run 2")
        assert deployed(instance, "phi-chat 3", "", 2_500.0) == Deployed(2_000.0, "run 3")
        assert deployed(instance, "phi-chat 2", "another", 1_500.0) is None


def test_the_form_of_the_weights_is_that_of_the_deployment():
    with dg.DagsterInstance.ephemeral() as instance:
        metadata = {"model": "phi-chat 4", "model_digest": "d4", "form": "int8"}
        instance.report_runless_asset_event(dg.AssetMaterialization(DEPLOYMENT, metadata=metadata))

        found = deployed(instance, "phi-chat 4", "d4", 1e12)

        assert found is not None
        assert found.form == "int8"
