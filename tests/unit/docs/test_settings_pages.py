"""`.env.example` and the settings table come from `Settings`: nothing on them is written by hand."""

import pytest

from docs_generator import settings
from phi_assets.settings import AUTO, NEEDED_ON_AZURE, PREFIX, Settings, SettingsError, read

ID = "00000000-0000-0000-0000-000000000000"


def test_the_example_file_is_the_generated_one():
    """Run `python -m docs_generator settings` after a change of a setting."""
    assert settings.EXAMPLE.read_text(encoding="utf-8") == settings.env_example()


def test_every_line_of_the_example_is_a_default_that_settings_take():
    lines = [line.removeprefix("# ") for line in settings.env_example().splitlines() if line.startswith(f"# {PREFIX}")]
    values = dict(line.split("=", 1) for line in lines)

    assert set(values) == {settings.variable(name) for name in Settings.model_fields}
    assert read(values) == read({})


def test_the_table_has_a_row_for_every_setting_with_its_description():
    page = settings.settings_page()

    assert [name for name in Settings.model_fields if f"| `{settings.variable(name)}` |" not in page] == []
    assert "`mask`, `drop` or `keep`" in page
    assert "a whole number, at least 3" in page


CHOICES = [name for name, field in Settings.model_fields.items() if " or `" in settings.allowed(name, field)]


@pytest.mark.parametrize("name", CHOICES)
def test_the_choices_of_the_table_are_those_that_settings_take(name):
    allowed = settings.allowed(name, Settings.model_fields[name]).replace(" or ", ", ")
    choices = [part.strip("` ") for part in allowed.split(",")]
    on_azure = {**dict.fromkeys(map(settings.variable, NEEDED_ON_AZURE), "eastus2"), "PHI_AZURE_SUBSCRIPTION_ID": ID}

    for choice in choices:
        read({**on_azure, settings.variable(name): choice})
    with pytest.raises(SettingsError) as caught:
        read({settings.variable(name): "nothing-of-that"})
    assert all(choice in str(caught.value) for choice in choices if choice != "auto" or name not in AUTO["local"])
