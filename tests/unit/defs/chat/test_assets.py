"""What asks the endpoint starts it first: after `phi down` nothing answers."""

from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from phi_assets.defs.chat.agent import agent_evaluation
from phi_assets.defs.chat.assets import chat_app, chat_flow, chat_flow_evaluation
from phi_assets.errors import BackendError


@pytest.mark.parametrize(
    "asset", [chat_app, chat_flow, chat_flow_evaluation, agent_evaluation], ids=lambda asset: asset.key.path[-1]
)
def test_the_endpoint_is_started_before_it_is_asked(asset: dg.AssetsDefinition):
    done: list[str] = []

    def asked(*given: Any) -> Any:
        done.append("asked")
        raise BackendError("that is enough")

    store = SimpleNamespace(deploy=asked, package=asked, evaluate=asked)
    given = {
        "endpoint_host": SimpleNamespace(start=lambda log: done.append("started"), key=lambda: "key"),
        "settings": SimpleNamespace(questions_file=None),
        **dict.fromkeys(("chat_host", "flow_store", "agent_store"), store),
    }
    function: Any = asset.node_def.compute_fn.decorated_fn  # type: ignore[union-attr]
    wanted = function.__annotations__.keys() - {"context", "return"}
    with pytest.raises(BackendError, match="enough"):
        function(dg.build_asset_context(), **{name: given.get(name) for name in wanted})
    assert done == ["started", "asked"]
