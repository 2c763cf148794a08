"""Connections made by Prompt flow's own client, in a home of their own."""

import json
import os
import stat
import subprocess

import pytest

from phi_assets.prompt_flow import connections as stored
from phi_assets.prompt_flow.child_process import PromptFlowFailed, run_child
from phi_assets.prompt_flow.connections import CONNECTION, LocalConnections
from phi_assets.prompt_flow.environment import prompt_flow_environment, prompt_flow_variables

GONE = f"C().connections.delete({CONNECTION!r})"
KEY = "the-key-of-the-endpoint-0123456789"


def test_a_connection_is_found_again_with_its_address_while_its_key_stands_nowhere(home):
    connections = LocalConnections(home)
    assert connections.find(CONNECTION) is None
    digest = connections.ensure(CONNECTION, "http://127.0.0.1:8000", KEY)
    found = connections.find(CONNECTION)
    assert found is not None
    assert (found.address, found.digest) == ("http://127.0.0.1:8000", digest)
    assert KEY not in repr(found)
    files = [path for path in home.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert stat.S_IMODE((home / "prompt_flow").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "prompt_flow" / "keyring.cfg").stat().st_mode) == 0o600


def test_ensuring_twice_changes_nothing_and_a_new_key_changes_the_digest(home):
    connections = LocalConnections(home)
    first = connections.ensure(CONNECTION, "http://127.0.0.1:8000", KEY)
    modified = (home / "prompt_flow" / "pf.sqlite").stat().st_mtime_ns
    assert connections.ensure(CONNECTION, "http://127.0.0.1:8000", KEY) == first
    assert (home / "prompt_flow" / "pf.sqlite").stat().st_mtime_ns == modified
    assert connections.ensure(CONNECTION, "http://127.0.0.1:8000", KEY + "x") != first


def test_a_connection_to_an_endpoint_that_takes_entra_tokens_keeps_no_token(home):
    connections = LocalConnections(home)
    digest = connections.ensure(CONNECTION, "https://phi.example", "a-token-of-somebody", "aad_token")
    found = connections.find(CONNECTION)
    assert found is not None
    assert (found.auth, found.digest) == ("aad_token", digest)
    assert connections.ensure(CONNECTION, "https://phi.example", "another-token", "aad_token") == digest
    assert connections.ensure(CONNECTION, "https://phi.example", KEY) != digest


def test_another_home_has_its_own_connection_of_the_same_name(home, connected_home):
    other = LocalConnections(home)
    other.ensure(CONNECTION, "http://127.0.0.1:8002", KEY)
    found = [connections.find(CONNECTION) for connections in (other, LocalConnections(connected_home))]
    assert [connection is not None and connection.address == "http://127.0.0.1:8002" for connection in found] == [
        True,
        False,
    ]


def test_what_has_not_changed_is_read_once_and_another_s_change_is_seen(home, monkeypatch):
    asked = []
    monkeypatch.setattr(
        stored, "run_child", lambda *all, **named: asked.append(all[1]["do"]) or run_child(*all, **named)
    )
    connections = LocalConnections(home)
    connections.ensure(CONNECTION, "http://127.0.0.1:8000", KEY)
    first, again = connections.find(CONNECTION), LocalConnections(home).find(CONNECTION)
    assert first == again is not None
    assert connections.ensure(CONNECTION, "http://127.0.0.1:8000", KEY) == first.digest
    assert asked == ["make"]
    environment, program = prompt_flow_environment(home), f"from promptflow.client import PFClient as C; {GONE}"
    subprocess.run(["python", "-c", program], env=environment, check=True)
    assert connections.find(CONNECTION) is None


def test_what_is_remembered_of_it_damaged_is_asked_again(home):
    connections = LocalConnections(home)
    digest = connections.ensure(CONNECTION, "http://127.0.0.1:8000", KEY)
    (home / "prompt_flow" / f"{CONNECTION}.json").write_text("{", encoding="utf-8")
    found = connections.find(CONNECTION)
    assert found is not None
    assert found.digest == digest


def test_one_that_could_not_be_read_is_asked_for_again_though_nothing_changed(home, monkeypatch):
    connections = LocalConnections(home)
    digest = connections.ensure(CONNECTION, "http://127.0.0.1:8000", KEY)
    os.utime(home / "prompt_flow" / "pf.sqlite")
    with monkeypatch.context() as patched:
        patched.setattr(stored, "run_child", lambda *_all, **_named: {"connection": None})
        assert connections.find(CONNECTION) is None
    found = connections.find(CONNECTION)
    assert found is not None
    assert found.digest == digest


def test_a_connection_whose_encryption_key_was_lost_is_missing_and_can_be_made_again(home):
    connections = LocalConnections(home)
    digest = connections.ensure(CONNECTION, "http://127.0.0.1:8000", KEY)
    (home / "prompt_flow" / "keyring.cfg").unlink()
    assert connections.find(CONNECTION) is None
    assert connections.ensure(CONNECTION, "http://127.0.0.1:8000", KEY) == digest


def test_a_damaged_database_is_named_with_what_to_do(home):
    prompt_flow_variables(home)
    (home / "prompt_flow" / "pf.sqlite").write_bytes(b"not a database " * 100)
    with pytest.raises(PromptFlowFailed, match=r"cannot use its database .*pf\.sqlite .*; delete it and try again"):
        LocalConnections(home).ensure(CONNECTION, "http://127.0.0.1:8000", KEY)


def test_a_connection_without_a_key_is_refused(home):
    with pytest.raises(ValueError, match="needs the endpoint's key"):
        LocalConnections(home).ensure(CONNECTION, "http://127.0.0.1:8000", "")


def test_prompt_flow_asks_nobody_for_its_latest_version_and_sends_nothing(home):
    environment = prompt_flow_environment(home)
    program = (
        "import json\n"
        "from promptflow._sdk._configuration import Configuration\n"
        "from promptflow._sdk._telemetry.telemetry import is_telemetry_enabled\n"
        "from promptflow._sdk._tracing import is_trace_feature_disabled\n"
        "import promptflow._sdk._version_hint_utils as hints\n"
        "asked = []\n"
        "hints.get_latest_version = lambda name: asked.append(name)\n"
        "hints.hint_for_update(); hints.check_latest_version()\n"
        "print(json.dumps([is_telemetry_enabled(), is_trace_feature_disabled(), asked]))\n"
    )
    done = subprocess.run(
        ["python", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [False, True, []]


def test_a_shell_can_take_over_the_variables_of_a_home(home):
    variables = prompt_flow_variables(home)
    script = 'eval "$(python -m phi_assets.prompt_flow.environment "$1")" && echo "$PF_HOME_DIRECTORY"'
    shown = subprocess.run(
        ["bash", "-c", script, "-", home],
        env={**os.environ, "PATH": variables["PATH"], "PYTHONPATH": variables["PYTHONPATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == str(home / "prompt_flow")
