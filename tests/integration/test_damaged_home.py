"""A home whose files are damaged: `phi status` names the file, `phi down` ends, and the documented steps restore it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from phi_assets.project import PROJECT
from tests.support.failing_writes import EVER, FailingWrites
from tests.support.forked_phi import ForkedPhi
from tests.support.full_disk import FULL, fill_the_disk, require_a_sentence
from tests.support.homes import Home
from tests.support.whole_home import MadeHome, not_whole

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

GARBAGE = b"\x00\xffgarbage{" * 50
NAMED = (
    "dagster/history/runs.db",
    "dagster/history/runs/index.db",
    "dagster/schedules/schedules.db",
    "mlflow/mlflow.db",
    "answers.sqlite",
    "endpoints/phi-chat/state.json",
    "interface.json",
    "version",
)
"""Files of which `phi status` says that they are damaged; any other is a cache, or is made again by `phi run`."""
SKIPPED = re.compile(r"artifacts/|base_models/|compute_logs/|/model/|\.(png|html|log|jsonl|lock|md|yaml)$")
STEPS = re.compile(r"^phi \w+", re.MULTILINE)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeHome]:
    made = MadeHome(tmp_path_factory.mktemp("made"), 3660)
    try:
        made.make()
        yield made
    finally:
        made.commands.phi("down")


@pytest.fixture(scope="module")
def phi(tmp_path_factory: pytest.TempPathFactory, home: MadeHome) -> Iterator[ForkedPhi]:
    forked = ForkedPhi(tmp_path_factory.mktemp("phi"), home.commands.settings)
    yield forked
    forked.end()


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory, home: MadeHome) -> FailingWrites:
    return FailingWrites(tmp_path_factory.mktemp("writes"), home.path)


@pytest.fixture(scope="module")
def phi_on_a_full_disk(
    tmp_path_factory: pytest.TempPathFactory, home: MadeHome, writes: FailingWrites
) -> Iterator[ForkedPhi]:
    forked = ForkedPhi(tmp_path_factory.mktemp("phi"), {**home.commands.settings, **writes.variables})
    yield forked
    forked.end()


@pytest.fixture(autouse=True)
def as_made(home: MadeHome) -> None:
    home.put_back()


@pytest.mark.parametrize(
    "content", [pytest.param(b"", id="empty", marks=pytest.mark.long), pytest.param(GARBAGE, id="garbage")]
)
@pytest.mark.parametrize("name", NAMED)
def test_status_names_a_damaged_file_and_down_ends(name, content, home, phi):
    file = home.path / "local" / name
    file.write_bytes(content)

    status, down = phi("status"), phi("down")

    assert status.code == 1, status
    assert f"{file} is damaged" in status.err
    assert len(status.err.splitlines()) == 1, status
    assert "fine_tuned_model" in status.out
    assert "Traceback" not in status.out + status.err + down.out + down.err
    assert down.code == 0, down


@pytest.mark.long
def test_no_damaged_file_ends_a_command_in_a_traceback(home, phi):
    files = [each.relative_to(home.path) for each in home.path.rglob("*") if each.is_file()]
    for name in sorted(each for each in files if not SKIPPED.search(str(each))):
        for content in (b"", GARBAGE):
            for command in (("status",), ("down",), ("clean",), ("models",), ("answers",), ("experiments",)):
                home.put_back()
                (home.path / name).write_bytes(content)
                done = phi(*command)
                assert done.code in (0, 1), f"{name} {command}: {done}"
                assert "Traceback" not in done.out + done.err, f"{name} {command}: {done}"
                assert len(done.err.splitlines()) <= 1, f"{name} {command}: {done}"


@pytest.mark.parametrize("content", [b"", GARBAGE], ids=["empty", "garbage"])
def test_dagster_s_configuration_is_written_again_or_named(content, home, phi):
    file = home.path / "local" / "dagster" / "dagster.yaml"
    whole = file.read_bytes()
    file.write_bytes(content)

    status = phi("status")

    if content:
        assert f"{file} is damaged (it is not YAML" in status.err
        assert file.read_bytes() == content
    else:
        assert status.code == 0, status
        assert file.read_bytes() == whole


def test_the_documented_steps_restore_the_databases_and_everything_is_found_again(home, phi):
    page = (PROJECT / "docs" / "how-to" / "back-up.md").read_text(encoding="utf-8")
    steps = STEPS.findall(page.partition("## Restore a damaged database")[2].partition("```sh")[2].partition("```")[0])
    assert steps == ["phi down", "phi restore", "phi run"]
    versions = phi("models", "--json").out
    assert phi("backup").code == 0
    for number, name in enumerate(NAMED[:4]):
        (home.path / "local" / name).write_bytes((b"", GARBAGE)[number % 2])
    assert phi("models").code == 1

    for step in steps[:-1]:
        done = phi(*step.split()[1:])
        assert done.code == 0, done

    assert phi("status").code == 0
    assert phi("models", "--json").out == versions
    assert "no answer" not in phi("answers").err
    assert not_whole(home.path) == []
    assert len(list(home.path.rglob("*.damaged-*"))) == 4


def test_a_copy_of_the_whole_home_is_the_home_again(home, phi, tmp_path):
    archive = tmp_path / "phi.tar.gz"
    assert phi("down").code == 0
    subprocess.run(["tar", "--create", "--gzip", "--file", archive, "--directory", home.path, "."], check=True)
    versions = phi("models", "--json").out
    shutil.rmtree(home.path)
    home.path.mkdir()

    subprocess.run(["tar", "--extract", "--gzip", "--file", archive, "--directory", home.path], check=True)

    assert phi("status").code == 0
    assert phi("models", "--json").out == versions


@pytest.mark.parametrize("place", ["file", "file/home", "x" * 300], ids=["file", "below a file", "long"])
@pytest.mark.parametrize("command", ["status", "run", "dev"])
def test_a_home_that_cannot_be_one_is_a_wrong_setting(place, command, tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")

    done = Home(tmp_path, {"PHI_HOME": str(tmp_path / place), "PHI_PROMPT_FLOW": "off"}).phi(command)

    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1, done
    assert f"PHI_HOME={tmp_path / place} cannot be the home" in done.stderr


def test_a_home_on_a_read_only_file_system_is_a_wrong_setting_and_down_ends(tmp_path):
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    mounted = f"mount -t tmpfs -o size=1m x {tmp_path} && mount -o remount,ro {tmp_path}"
    phi = f"{sys.executable} -m phi_assets.cli.main"
    script = f"{mounted} && {{ {phi} status; echo $?; {phi} down; echo $?; }}"
    environment = {**os.environ, "PHI_HOME": str(tmp_path / "home"), "PHI_PROMPT_FLOW": "off"}

    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    codes = [line for line in done.stdout.splitlines() if line.isdecimal()]
    assert codes == ["2", "0"], done
    assert "is on a file system that is mounted read-only: mount it writable" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("command", "some"), [("backup", slice(0, None, 9)), ("answers", slice(1))])
def test_a_full_disk_is_one_sentence_and_the_command_goes_on_when_there_is_room(
    command, some, home, writes, phi_on_a_full_disk
):
    # Some kinds of writes: the long test takes all of them.
    assert fill_the_disk(command, home, writes, phi_on_a_full_disk, some)


def test_status_shows_what_it_can_read_on_a_full_disk(home, writes, phi_on_a_full_disk):
    writes.begin(1, EVER)
    done = phi_on_a_full_disk("status")
    writes.begin()

    require_a_sentence(done, FULL, writes.hit)
    assert "fine_tuned_model" in done.out
    assert "fresh" in done.out
    assert not_whole(home.path) == []


def test_a_disk_that_fills_up_does_not_keep_processes_running(writes, phi_on_a_full_disk):
    writes.begin(1, EVER)
    done = phi_on_a_full_disk("down")
    writes.begin()

    assert done.code == 0, done
    assert "were not running" in done.out
