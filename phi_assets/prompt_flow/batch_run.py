"""Runs one Prompt flow batch in a child process, and returns outputs and errors by row."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRESS_EVERY_S = 3.0
# The prefix that Prompt flow adds to a tool's error.
NODE_FAILED = re.compile(r"^(?:\w+: )?Execution failure in '[^']*': (?:\(\w+\) )?")
CONNECTION_MISSING = re.compile(r"Connection '[^']*' is not found")


def readable(message: str) -> str:
    """Return the message without Prompt flow's prefix, and with a remedy when the connection is missing."""
    message = NODE_FAILED.sub("", message)
    if CONNECTION_MISSING.search(message):
        state = os.environ["PF_HOME_DIRECTORY"]
        return f"{message.rstrip('.')} in {state}; materialise endpoint_connection, then try again"
    return message


@dataclass(frozen=True)
class BatchOutcome:
    """Outputs and error messages by row, from 0. Each row has one or the other, unless Prompt flow lost it."""

    outputs: dict[int, dict[str, Any]]
    errors: dict[int, str]


def run_batch(
    flow: Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    *,
    here: Path,
    workers: int,
    on_progress: Callable[[int], None] = lambda finished: None,
) -> BatchOutcome:
    """Run a copy of `flow` over `rows` with `pf.run`, and delete the run's record in Prompt flow's store.

    Args:
        flow: folder of the flow; it is copied, because a run writes into the folder.
        rows: the data; columns refer to it as `${data.name}`.
        columns: inputs of the flow by name, in Prompt flow's column mapping.
        here: an existing folder for the copy and the data.
        workers: maximum rows that run at the same time.
        on_progress: called every few seconds with the number of finished rows.

    Raises:
        RuntimeError: Prompt flow cannot run the flow at all; failed rows raise nothing.
    """
    from promptflow.client import PFClient
    from promptflow.exceptions import PromptflowException

    name = f"phi-{flow.name[:12]}-{uuid.uuid4().hex[:8]}"
    data = here / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    copy = shutil.copytree(flow, here / name)
    os.environ["PF_WORKER_COUNT"] = str(max(1, min(workers, len(rows))))
    client = PFClient()
    output = Path(os.environ["PF_HOME_DIRECTORY"]) / ".runs" / name
    done = threading.Event()
    threading.Thread(target=_watch, args=(output / "flow_artifacts", done, on_progress), daemon=True).start()
    try:
        client.run(flow=str(copy), data=str(data), column_mapping=dict(columns), name=name)
        return BatchOutcome(_outputs(output), _errors(output / "error.json"))
    except PromptflowException as e:
        raise RuntimeError(readable(str(e))) from e
    finally:
        done.set()
        _delete_run(client, name, output)


def _delete_run(client: Any, name: str, output: Path) -> None:
    """Delete the run's files in Prompt flow's store; otherwise a batch run a day would fill the disk."""
    from promptflow.exceptions import PromptflowException

    with contextlib.suppress(PromptflowException):  # a run that did not start has no record
        client.runs.delete(name)
    shutil.rmtree(output, ignore_errors=True)
    for lock in output.parents[1].glob(f"{name}.*.lock"):
        lock.unlink(missing_ok=True)


def _watch(finished_rows: Path, done: threading.Event, on_progress: Callable[[int], None]) -> None:
    """Report the number of files that a batch run writes, one for each finished row."""
    before = 0
    while not done.wait(PROGRESS_EVERY_S):
        finished = sum(1 for _ in finished_rows.glob("*.jsonl")) if finished_rows.is_dir() else 0
        if finished != before:
            on_progress(finished)
        before = finished


def _outputs(folder: Path) -> dict[int, dict[str, Any]]:
    file = folder / "flow_outputs" / "output.jsonl"
    if not file.exists():
        return {}
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
    return {line["line_number"]: line for line in lines}


def _errors(file: Path) -> dict[int, str]:
    """Return the message of each failed row, without Prompt flow's prefix."""
    if not file.exists():
        return {}
    errors: dict[int, str] = {}
    for extra in json.loads(file.read_text(encoding="utf-8")).get("additionalInfo") or []:
        for failed in (extra.get("info") or {}).get("errors") or []:
            message = str((failed.get("error") or {}).get("message") or "failed")
            errors[int(failed["line_number"])] = readable(message)
    return errors
