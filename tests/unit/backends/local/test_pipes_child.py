"""The run's log of a child process."""

import json
import os

import dagster as dg
import psutil
import pytest

from phi_assets.backends.local import pipes_child
from phi_assets.backends.local.pipes_child import run_program
from phi_assets.own_processes import VARIABLE
from tests.support.hostile_texts import HOSTILE, dangerous

PROGRAM = """
import json, sys
from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    for text in json.load(open(sys.argv[1])):
        pipes.log.warning("row: " + text)
    pipes.report_custom_message({"failed": "row: \\x1b[31m\\u202e"})
sys.exit(int(sys.argv[2]))
"""


@pytest.mark.integration
def test_what_a_program_logs_and_why_it_failed_reach_the_log_without_control_codes(tmp_path):
    texts = {kind: text for kind, text in HOSTILE.items() if len(text) < 1000}
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "texts.json").write_text(json.dumps([*texts.values(), "보증 기간 किताब"]), encoding="utf-8")

    @dg.asset
    def made(context: dg.AssetExecutionContext) -> None:
        run_program(context, [str(tmp_path / "program.py"), str(tmp_path / "texts.json"), "3"])

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([made], instance=instance, raise_on_error=False)
        logged = [entry.user_message for entry in instance.all_logs(result.run_id) if not entry.is_dagster_event]

    rows = [message for message in logged if message.startswith("row: ")]
    assert len(rows) == len(texts) + 1
    assert "".join(map(dangerous, rows)) == ""
    assert "row: 보증 기간 किताब" in rows
    failure = result.failure_data_for_node("made")
    assert failure
    assert failure.user_failure_data
    assert failure.user_failure_data.description.endswith("program.py: row: \\x1b[31m\\u202e")


@pytest.mark.parametrize("fault", [PermissionError(13, "Permission denied"), psutil.NoSuchProcess(1)])
def test_a_child_watches_the_processes_with_its_token_up_to_one_that_cannot_be_read(monkeypatch, fault):
    """The environment of another user's process, such as a container's first, cannot be read."""
    parents = psutil.Process().parents()

    def environ(process: psutil.Process) -> dict[str, str]:
        if process.pid == parents[-1].pid:
            raise fault
        return {VARIABLE: "ours"}

    monkeypatch.setenv(VARIABLE, "ours")
    monkeypatch.setattr(psutil.Process, "environ", environ)

    assert pipes_child._processes_above() == [os.getpid(), *(each.pid for each in parents[:-1])]
