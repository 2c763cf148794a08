"""A program that materialises the infrastructure of PHI_BACKEND=azure in a Dagster run and prints JSON."""

import json

import dagster as dg

from phi_assets.definitions import definitions
from phi_assets.graph import staleness


def main() -> None:
    """Print the run's result, the verdict of every check, and what a second run would materialise."""
    loaded = definitions()
    job = loaded.resolve_job_def("everything")
    keys = [spec.key for spec in loaded.resolve_all_asset_specs() if spec.group_name == "infrastructure"]
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, asset_selection=keys, raise_on_error=False)
        checks = {
            f"{evaluation.asset_key.to_user_string()}:{evaluation.check_name}": evaluation.passed
            for evaluation in result.get_asset_check_evaluations()
        }
        failures = [event.step_failure_data.error.message for event in result.get_step_failure_events()]
        states = staleness.asset_states(instance, loaded)
    print(
        json.dumps(
            {
                "success": result.success,
                "checks": checks,
                "failures": failures,
                "states": {key.to_user_string(): states[key.to_user_string()].status for key in keys},
                "next": staleness.next_assets(states),
            }
        )
    )


if __name__ == "__main__":
    main()
