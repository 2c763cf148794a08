import sys
from pathlib import Path
from types import ModuleType

import pytest

from phi_assets.conversations.names_model import NamesModelError, find_names, load
from phi_assets.conversations.personal_data import mask


@pytest.fixture
def spacy_folder(tmp_path: Path) -> Path:
    """A model that spaCy itself saves: its rules find one name."""
    import spacy

    model = spacy.blank("en")
    rules = model.add_pipe("entity_ruler")
    rules.add_patterns([{"label": "PS", "pattern": "김민수"}, {"label": "LC", "pattern": "부산"}])  # pyright: ignore
    model.to_disk(tmp_path / "names")
    return tmp_path / "names"


def test_names_are_found_by_a_model_of_spacy_and_by_nothing_else(spacy_folder: Path):
    text = "김민수 님은 부산에 살아요: a@example.com"
    assert mask(text).text == "김민수 님은 부산에 살아요: <EMAIL_ADDRESS>"
    assert mask(text, names_model=str(spacy_folder)).text == "<PERSON> 님은 부산에 살아요: <EMAIL_ADDRESS>"


def test_names_and_addresses_are_found_by_a_model_of_gliner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Model:
        @staticmethod
        def from_pretrained(folder: str, local_files_only: bool) -> "Model":
            assert local_files_only
            assert folder == str(tmp_path)
            return Model()

        def predict_entities(self, text: str, labels: list[str], threshold: float) -> list[dict[str, object]]:
            found = (("person name", "Ann Lee"), ("postal address", "1 Elm St"))
            return [
                {"label": label, "start": text.find(value), "end": text.find(value) + len(value)}
                for label, value in found
                if label in labels and value in text
            ]

    gliner = ModuleType("gliner")
    gliner.GLiNER = Model  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "gliner", gliner)
    (tmp_path / "gliner_config.json").write_text("{}")
    load.cache_clear()
    text = "word " * 300 + "Ann Lee lives at 1 Elm St."
    assert mask(text, names_model=str(tmp_path)).text.endswith("word <PERSON> lives at <ADDRESS>.")


def test_a_missing_package_and_a_folder_without_a_model_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    load.cache_clear()
    with pytest.raises(NamesModelError, match=r"has no model of spaCy .* or GLiNER"):
        find_names("Ann", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gliner", None)
    (tmp_path / "gliner_config.json").write_text("{}")
    with pytest.raises(NamesModelError, match="pip install gliner"):
        find_names("Ann", str(tmp_path))
    (tmp_path / "gliner_config.json").unlink()
    (tmp_path / "config.cfg").write_text("")
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(NamesModelError, match="spaCy cannot load"):
        find_names("Ann", str(tmp_path))
