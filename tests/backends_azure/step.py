"""One training step of a Dagster run as a process that can be interrupted or killed.

    python -m tests.backends_azure.step '{"home": DIR, "name": NAME, "recipe": N}' EPOCHS STATE

Prints whether the step succeeded and whether the asset was materialised, as JSON.
"""

import json
import sys
from pathlib import Path

from tests.azure_emulator.control import Control
from tests.backends_azure.place import Place
from tests.backends_azure.work import Work

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    place = Place(Control(Path(sys.argv[3])), Path(given["home"]), given["name"])
    outcome = Work(place, recipe=given["recipe"], epochs=int(sys.argv[2])).train()
    print(json.dumps({"success": outcome.success, "materialised": outcome.materialised, "failure": outcome.failure}))
