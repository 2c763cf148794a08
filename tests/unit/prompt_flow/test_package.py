"""The packaged flow: known by its content, complete or not there."""

import sys
from pathlib import Path

import pytest

from phi_assets.prompt_flow.package import folder_digest, is_intact, package_flow
from phi_assets.prompt_flow.virtual_environment import LOCK

CHAT_FLOW = Path(__file__).resolve().parents[3] / "flows" / "chat"


@pytest.mark.guide("flow-dag")
def test_the_same_flow_is_published_once_under_its_digest(tmp_path):
    folder, digest = package_flow(CHAT_FLOW, tmp_path / "packages")
    written = (folder / "ask_endpoint.py").stat().st_ino
    again, same = package_flow(CHAT_FLOW, tmp_path / "packages")
    assert (again, same) == (folder, digest)
    assert folder == tmp_path / "packages" / digest
    assert (folder / "ask_endpoint.py").stat().st_ino == written
    assert [path.name for path in (tmp_path / "packages").iterdir()] == [digest]


def test_a_changed_byte_is_another_package_and_the_old_one_stays(tmp_path):
    source = _copy(tmp_path)
    first, _ = package_flow(source, tmp_path / "packages")
    (source / "ask_endpoint.py").write_text((source / "ask_endpoint.py").read_text() + "\n")
    second, _ = package_flow(source, tmp_path / "packages")
    assert first != second
    assert is_intact(first)
    assert is_intact(second)


def test_what_running_a_flow_leaves_in_its_folder_changes_no_digest(tmp_path):
    source = _copy(tmp_path)
    before = folder_digest(source)
    for left in ("__pycache__/chat.cpython-311.pyc", ".promptflow/flow.log", ".runs/a/b.txt"):
        (source / left).parent.mkdir(parents=True, exist_ok=True)
        (source / left).write_text("x")
    assert folder_digest(source) == before
    folder, _ = package_flow(source, tmp_path / "packages")
    assert not {"__pycache__", ".promptflow", ".runs"} & {path.name for path in folder.iterdir()}


def test_a_flow_that_is_not_accepted_is_not_published(tmp_path):
    def refuse(folder: Path) -> None:
        assert (folder / "flow.dag.yaml").is_file()
        raise RuntimeError("the endpoint is down")

    with pytest.raises(RuntimeError, match="the endpoint is down"):
        package_flow(CHAT_FLOW, tmp_path / "packages", accept=refuse)
    assert list((tmp_path / "packages").iterdir()) == []


def test_a_damaged_package_is_made_again(tmp_path):
    folder, _ = package_flow(CHAT_FLOW, tmp_path / "packages")
    (folder / "ask_endpoint.py").write_text("broken")
    assert not is_intact(folder)
    package_flow(CHAT_FLOW, tmp_path / "packages")
    assert is_intact(folder)


def test_a_folder_without_a_flow_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a flow: it has no flow\.dag\.yaml"):
        package_flow(tmp_path, tmp_path / "packages")


def test_a_package_can_ask_through_another_connection(tmp_path):
    folder, digest = package_flow(CHAT_FLOW, tmp_path / "packages", connection="another_endpoint")
    assert "    connection: another_endpoint\n" in (folder / "flow.dag.yaml").read_text()
    assert digest != package_flow(CHAT_FLOW, tmp_path / "packages")[1]


def test_a_file_that_a_backend_adds_is_in_the_package_and_counts(tmp_path):
    (tmp_path / "more.py").write_text("more = True\n", encoding="utf-8")
    folder, digest = package_flow(CHAT_FLOW, tmp_path / "packages", beside=[tmp_path / "more.py"])
    assert (folder / "more.py").read_text(encoding="utf-8") == "more = True\n"
    assert digest != package_flow(CHAT_FLOW, tmp_path / "packages")[1]


def test_a_package_locks_exactly_what_it_was_tested_with(tmp_path):
    folder, _ = package_flow(CHAT_FLOW, tmp_path / "packages")
    assert (folder / "requirements.txt").read_bytes() == LOCK.read_bytes()
    assert "--require-hashes" in (folder / "Dockerfile").read_text()


def test_nothing_that_the_flow_does_without_is_locked():
    names = {line.partition("==")[0] for line in LOCK.read_text().splitlines() if "==" in line}
    assert {"promptflow", "promptflow-devkit", "httpx", "azure-identity", "keyrings-alt", "flask"} <= names
    assert not names & {"torch", "transformers", "dagster", "mlflow", "pytest"}


def test_the_image_has_the_python_that_the_flow_was_tested_with(tmp_path):
    folder, _ = package_flow(CHAT_FLOW, tmp_path / "packages")
    lines = (folder / "Dockerfile").read_text().splitlines()
    assert f"ARG PYTHON_VERSION={sys.version_info.major}.{sys.version_info.minor}" in lines


def _copy(tmp_path: Path) -> Path:
    source = tmp_path / "flow"
    source.mkdir()
    for path in CHAT_FLOW.iterdir():
        if path.is_file():
            (source / path.name).write_bytes(path.read_bytes())
    return source
