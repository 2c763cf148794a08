import gzip
import json
from pathlib import Path

import pytest

from phi_assets.conversations.progress import Pace, estimated_rows
from phi_assets.conversations.sources.address import FileSource
from phi_assets.conversations.sources.feeds import pieces_of
from tests.support.conversations import distinct


def test_the_rows_of_a_file_are_estimated_from_its_start_and_those_of_parquet_are_known(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [distinct(number) for number in range(9_000)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert estimated_rows(pieces_of(FileSource(tmp_path))) == pytest.approx(9_000, rel=0.1)
    pq.write_table(pa.Table.from_pylist(rows[:700]), tmp_path / "b.parquet")
    assert estimated_rows(pieces_of(FileSource(tmp_path))) == pytest.approx(9_700, rel=0.1)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    assert estimated_rows(pieces_of(FileSource(tmp_path))) == 0


def test_progress_is_told_every_ten_seconds_with_speed_and_time_left():
    now, said = [0.0], list[str]()
    pace = Pace(said.append, lambda: now[0])
    for second in range(0, 31, 5):
        now[0] = second
        pace("read", 1_000 + 200 * second, 100_000)
    pace("read", 7_100, 7_100)
    now[0] = 100
    pace("compared", 1_000, 0)
    now[0] = 111
    pace("compared", 2_100, 0)
    assert said == [
        "read: 3,000 of about 100,000 rows, 200 a second, about 8 minutes left",
        "read: 5,000 of about 100,000 rows, 200 a second, about 8 minutes left",
        "read: 7,000 of about 100,000 rows, 200 a second, about 8 minutes left",
        "read: 7,100 rows",
        "compared: 2,100 rows, 100 a second",
    ]
