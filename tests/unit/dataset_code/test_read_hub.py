"""The output of the job that reads a hub dataset: valid JSON Lines, and a marker that matches them."""

import datetime as dt
import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from dataset_code import read_hub
from phi_assets.backends.azure.jobs import hub_reading
from phi_assets.conversations.sources.address import HubSource, RowsFile
from phi_assets.conversations.sources.read_source import read_source
from phi_assets.defs.dataset.assets import FOR_A_JOB
from tests.support.graph_facts import environment

SOURCE = HubSource("a/b", "train", "1" * 40)


def test_values_that_json_has_not_are_written_so_that_their_row_is_whole(tmp_path: Path):
    row = {"messages": [{"content": "ä\u2028\n"}], "scores": [1.5, math.nan], "at": dt.date(2026, 1, 2), "raw": b"abc"}
    read_hub.write([row], tmp_path)
    (found,) = read_source("", RowsFile(tmp_path / read_hub.ROWS, SOURCE))
    expected = {**row, "scores": [1.5, None], "at": "2026-01-02", "raw": "<3 bytes>"}
    assert (found.file, found.line, found.value) == (str(SOURCE), 1, expected)  # pyright: ignore


def test_the_marker_tells_rows_bytes_and_hash_and_an_older_one_is_gone_first(tmp_path: Path):
    (tmp_path / read_hub.MARKER).write_text("of an earlier attempt")

    def rows():
        yield {"number": 1}
        assert not (tmp_path / read_hub.MARKER).exists()
        yield {"number": 2}

    read_hub.write(rows(), tmp_path)
    content = (tmp_path / read_hub.ROWS).read_bytes()
    told = json.loads((tmp_path / read_hub.MARKER).read_text(encoding="utf-8"))
    assert content == b'{"number": 1}\n{"number": 2}\n'
    assert told == {"rows": 2, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize(("dataset", "needs_a_cluster"), [("hf:a/b:train", True), ("data/support", False)])
def test_a_dataset_that_a_job_reads_stands_on_the_cluster_and_on_the_quota_s_gates(dataset: str, needs_a_cluster: bool):
    script = (
        "import json; from phi_assets.definitions import definitions as d; graph = d().resolve_asset_graph(); "
        "print(json.dumps([k.to_user_string() for n in graph.asset_nodes if n.key.to_user_string() == 'chat_dataset' "
        "for k in n.parent_keys]))"
    )
    given = {**environment("azure"), "PHI_AZURE_READ_DATASETS": "azure", "PHI_DATASET": dataset}
    done = subprocess.run([sys.executable, "-c", script], env=given, capture_output=True, text=True, check=True)
    parents = set(json.loads(done.stdout))
    assert "raw_conversations" in parents
    assert ({*FOR_A_JOB} <= parents) == needs_a_cluster
    assert ("gpu_quota" in parents) == needs_a_cluster


def test_both_sides_call_the_two_files_the_same():
    assert (read_hub.ROWS, read_hub.MARKER) == (hub_reading.ROWS, hub_reading.MARKER)
