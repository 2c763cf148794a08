"""What the page of chat_dataset says about personal data."""

import json
import re
from pathlib import Path

import pytest

from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.personal_data import kinds_found
from phi_assets.defs.dataset.metadata import describe_dataset
from phi_assets.records import DatasetVersion

GUIDE = Path(__file__).parents[4] / "docs" / "how-to" / "own-data.md"


def shown(folder: Path, options: CleaningOptions, masked: dict[str, int]) -> str:
    """The text of the entry on personal data."""
    manifest = {
        "rows_read": 1, "reasons": {}, "kinds": {"broken": 0, "duplicate": 0}, "broken_share": 0.0,
        "warnings": [], "own_splits": {}, "unused_keys": {}, "context_only_turns": 0, "preference_pairs": 0,
        "test_turns_verbatim_in_train": 0.0, "near_duplicate_groups": 0,
        "settings": options.as_json(), "masked": masked,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "train.jsonl").write_text("")
    version = DatasetVersion(digest="d" * 64, address="", rows={"train": 0}, groups={"train": 0})
    return describe_dataset(version, folder)["personal_data"].md_str


def test_it_lists_the_kinds_looked_for_with_their_counts_and_that_names_are_not_found(tmp_path: Path):
    text = shown(tmp_path, CleaningOptions(regions=("KR",)), {"KR_RRN": 3, "PASSWORD": 1})
    assert re.search(r"KR.?_RRN \| 3", text)
    assert re.search(r"PASSWORD \| 1", text)
    assert "UK_NINO" not in text
    assert "names of people and postal addresses | not looked for" in text


def test_with_a_model_of_names_it_counts_them(tmp_path: Path):
    text = shown(tmp_path, CleaningOptions(names_model="names"), {"PERSON": 2})
    assert "PERSON | 2" in text
    assert "not looked for" not in text


def test_when_personal_data_is_kept_it_says_so(tmp_path: Path):
    assert "nothing was looked for" in shown(tmp_path, CleaningOptions(personal_data="keep"), {})


@pytest.mark.parametrize(
    ("region", "word"),
    [("US", "ITIN"), ("UK", "NHS"), ("DE", "Steuer-ID"), ("FR", "NIR"), ("ES", "NIE"), ("KR", "driver"),
     ("CN", "resident"), ("JP", "My Number"), ("IN", "Aadhaar")],
)  # fmt: skip
def test_the_guide_names_the_kinds_of_every_region(region: str, word: str):
    assert word in next(
        line for line in GUIDE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {region} |")
    )
    assert set(kinds_found((region,))) > set(kinds_found(()))
