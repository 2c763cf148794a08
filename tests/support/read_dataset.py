"""A program that materialises chat_dataset and its upstream assets in a Dagster run, with the settings in force.

    python -m tests.support.read_dataset [ASSET ...]

Prints, as JSON, which assets were materialised and the message of each failed step. With names, only those assets run.
"""

import json
import sys

import dagster as dg

from phi_assets.definitions import definitions

if __name__ == "__main__":
    job = definitions().resolve_implicit_global_asset_job_def()
    wanted = [dg.AssetKey(name) for name in sys.argv[1:]]
    if not wanted:
        graph = job.asset_layer.asset_graph
        wanted = list(
            dg.AssetSelection.assets("chat_dataset", "base_model").upstream().resolve(graph)
            & graph.materializable_asset_keys
        )
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, asset_selection=wanted, raise_on_error=False)
        made = [key.to_user_string() for key in wanted if instance.get_latest_materialization_event(key) is not None]
        failures = {}
        for event in result.all_events:
            if event.is_step_failure:
                data = event.step_failure_data
                message = data.user_failure_data.description if data.user_failure_data else None
                failures[str(event.step_key)] = message or (data.error.to_string() if data.error else "")
    print(json.dumps({"made": sorted(made), "failures": failures}))
