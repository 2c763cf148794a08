"""The record of an endpoint: whole or not there, and never with shares that make no sense."""

import stat

import pytest

from phi_assets.backends.local.serving.state import DeploymentState, EndpointState, read_state, write_state


def deployment(name: str, version: str = "1") -> DeploymentState:
    return DeploymentState(name, "/models/a", "tiny", version, "d1g3st", "c0de", 40001)


@pytest.fixture
def state() -> EndpointState:
    return EndpointState("phi", 20001, "router").with_deployment(deployment("blue")).with_traffic({"blue": 100})


def test_what_is_written_is_read_again_and_only_the_owner_reads_it(tmp_path, state):
    file = tmp_path / "state.json"

    write_state(file, state)

    assert read_state(file) == state
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_no_file_is_no_endpoint(tmp_path):
    assert read_state(tmp_path / "state.json") is None


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"deployments": {"blue": {}}}', '{"deployments": 3}'])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, text):
    (tmp_path / "state.json").write_text(text)

    with pytest.raises(ValueError, match=r"state\.json is damaged .* move its folder away"):
        read_state(tmp_path / "state.json")


@pytest.mark.parametrize("shares", [{"blue": 90}, {"blue": 101}, {"blue": 150, "green": -50}, {"red": 100}])
def test_shares_that_are_no_whole_or_go_nowhere_are_refused(state, shares):
    with pytest.raises(ValueError, match=r"traffic"):
        state.with_deployment(deployment("green")).with_traffic(shares)


def test_the_live_deployment_has_the_most_traffic(state):
    both = state.with_deployment(deployment("green", "2"))

    assert both.live().name == "blue"
    assert both.with_traffic({"blue": 30, "green": 70}).live().name == "green"
    assert both.with_traffic({}).live() is None


def test_two_deployments_serve_the_same_whatever_their_colour_and_port():
    assert deployment("blue").serves(deployment("green"))
    assert not deployment("blue").serves(deployment("green", "2"))
