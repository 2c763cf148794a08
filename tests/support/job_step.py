"""A program with one Dagster step whose job only executes a command; tests interrupt or kill it.

    python -m tests.support.job_step '{"home": DIR, "name": NAME, "recipe": N, "command": TEXT, "seconds": N,
        "lease_seconds": N}' STATE

`seconds`: the run time that the cost ceiling allows; null for the real one. `lease_seconds`: of the lease on jobs.

Prints whether the step succeeded and whether the asset was materialised, as JSON.
"""

import json
import sys
from pathlib import Path

import dagster as dg

from azure_emulator.control import Control
from phi_assets.backends.azure.infrastructure import prices
from phi_assets.backends.azure.storage import blob_lease
from tests.support.azure_jobs import Work
from tests.support.azure_place import Place

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if given["seconds"]:
        prices.ceiling_seconds = lambda max_cost, price: given["seconds"]
    blob_lease.SECONDS = given["lease_seconds"]
    place = Place(Control(Path(sys.argv[2])), Path(given["home"]), given["name"])
    folder = place.home / f"dagster-{given['recipe']}"
    folder.mkdir(exist_ok=True)
    # On disk: an interrupt can leave the database of an instance in memory locked.
    instance = dg.DagsterInstance.local_temp(str(folder))
    outcome = Work(place, recipe=given["recipe"], command=given["command"]).run_command(instance)
    print(json.dumps({"success": outcome.success, "materialised": outcome.materialised, "failure": outcome.failure}))
