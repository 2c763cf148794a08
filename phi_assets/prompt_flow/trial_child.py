"""Child process: run a flow on inputs in sequence, in a copy of its folder, with Prompt flow's own client."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from phi_assets.prompt_flow.batch_run import readable
from phi_assets.prompt_flow.child_process import answer_request


def _handle(request: dict[str, Any]) -> dict[str, Any]:
    from promptflow.client import PFClient
    from promptflow.exceptions import PromptflowException

    with tempfile.TemporaryDirectory(prefix="flow-") as folder:
        flow = shutil.copytree(request["flow"], Path(folder) / "flow")
        try:
            client = PFClient()
            outputs = [dict(client.test(flow=flow, inputs=inputs)) for inputs in request["inputs"]]
        except PromptflowException as e:
            raise RuntimeError(readable(str(e))) from e
    return {"outputs": outputs}


if __name__ == "__main__":
    answer_request(_handle)
