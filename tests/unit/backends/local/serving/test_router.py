"""Which deployment a request goes to, by share, by pin, and when one has failed."""

from collections import Counter

import pytest

from phi_assets.backends.local.serving.router import choose
from phi_assets.backends.local.serving.state import DeploymentState, EndpointState
from serving_code.errors import Refusal


def endpoint(**shares: int) -> EndpointState:
    state = EndpointState("phi", 20001, "router")
    for name in shares:
        state = state.with_deployment(DeploymentState(name, "/m", "tiny", "1", "d", "c", 40001))
    return state.with_traffic(shares)


def test_requests_are_drawn_by_traffic_share():
    state = endpoint(blue=90, green=10)

    drawn = Counter(choose(state, None).name for _ in range(3000))

    assert 200 < drawn["green"] < 400


def test_a_pinned_request_goes_to_a_deployment_without_traffic():
    assert choose(endpoint(blue=100, green=0), "green").name == "green"


def test_a_deployment_that_failed_is_left_out_while_there_is_another():
    state = endpoint(blue=99, green=1)

    assert {choose(state, None, {"blue"}).name for _ in range(50)} == {"green"}
    assert choose(endpoint(blue=100), None, {"blue"}).name == "blue"


@pytest.mark.parametrize(
    ("state", "pinned", "reason"),
    [
        (endpoint(blue=100), "gren", "no deployment 'gren'; valid are blue"),
        (endpoint(blue=100, green=0), "gren", "did you mean 'green'"),
        (endpoint(), "blue", "nothing is deployed yet"),
        (endpoint(), None, "no deployment of phi takes traffic"),
        (endpoint(blue=0), None, "no deployment of phi takes traffic"),
    ],
)
def test_a_request_that_can_go_nowhere_is_a_404_with_the_reason(state, pinned, reason):
    with pytest.raises(Refusal, match=reason) as refused:
        choose(state, pinned)

    assert refused.value.status == 404
