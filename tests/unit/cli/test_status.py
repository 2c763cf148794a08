"""One line for the record of an asset, whatever kind it is."""

from phi_assets.cli.status import what_exists
from phi_assets.graph.staleness import AssetState
from phi_assets.records import DatasetVersion, FeedbackCandidates, Record


def shown(record: Record) -> str:
    return what_exists(AssetState("its_name", "its_group", (), "fresh", record=record))


def test_rows_are_shown_by_split_or_as_one_number():
    dataset = DatasetVersion(digest="d" * 64, address="", rows={"train": 8, "test": 1}, groups={"train": 4, "test": 1})
    assert shown(dataset) == f"8 train, 1 test ({'d' * 12})"
    for rows in (0, 3):
        candidates = FeedbackCandidates(digest="c" * 64, rows=rows, corrections=0, left_out={})
        assert shown(candidates) == f"{rows} rows ({'c' * 12})"
