"""dagster.yaml of a home is this project's, until an operator changes it."""

import pytest

from phi_assets.instance import home
from phi_assets.project import PROJECT
from phi_assets.settings import Settings, read

OURS = (PROJECT / "dagster.yaml").read_bytes()


@pytest.fixture
def settings(tmp_path) -> Settings:
    return read({"PHI_HOME": str(tmp_path / "home")})


def configuration(settings: Settings) -> bytes:
    with home.instance(settings):
        return (settings.dagster_home / "dagster.yaml").read_bytes()


def test_a_new_home_gets_the_project_s_own(settings):
    assert configuration(settings) == OURS
    assert configuration(settings) == OURS


def test_what_an_operator_wrote_stays_byte_for_byte(settings):
    file = settings.dagster_home / "dagster.yaml"
    written = b"telemetry:\n  enabled: false\n# of the operators\n"
    file.parent.mkdir(parents=True)
    file.write_bytes(written)

    assert configuration(settings) == written

    file.write_bytes(OURS + b"# more\n")
    assert configuration(settings) == OURS + b"# more\n"


def test_one_that_an_earlier_release_wrote_is_brought_up_to_date(settings, monkeypatch, tmp_path):
    configuration(settings)
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "dagster.yaml").write_bytes(OURS + b"# of a newer release\n")
    monkeypatch.setattr(home, "PROJECT", newer)

    assert configuration(settings) == OURS + b"# of a newer release\n"


def test_one_that_was_deleted_is_written_again(settings):
    configuration(settings)
    (settings.dagster_home / "dagster.yaml").unlink()

    assert configuration(settings) == OURS
