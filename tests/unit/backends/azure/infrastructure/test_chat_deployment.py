"""The chat's own deployment: Azure refusing its database stops the chat, and nothing else."""

import json

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.client import names as unique_names
from phi_assets.backends.azure.infrastructure import live_state
from phi_assets.errors import BackendError
from phi_assets.project import PROJECT
from tests.support.azure_place import Place, names

pytestmark = [pytest.mark.azure, pytest.mark.integration]
NAMES = names()
CLIENT = "33333333-3333-3333-3333-333333333333"


@pytest.fixture
def place(control: Control, tmp_path) -> Place:
    credential.forget()
    live_state.forget()
    return Place(control, tmp_path, next(NAMES), others={"PHI_AZURE_CHAT_CLIENT_ID": CLIENT})


def test_a_refused_database_leaves_everything_else_as_it_was_and_says_why(place):
    made = place.deploy()
    place.control.take_name(unique_names.names(place.clients.account)["chat_database"])

    with pytest.raises(BackendError, match="is already taken"):
        place.resources["chat_resources"].ensure(place.log)

    resources = place.resources["cloud_resources"]
    assert {name: resources.find(record.digest) for name, record in made.items()} == made
    assert [name for asset in ("ml_workspace", "storage_account") for name in place.failed_checks(asset)] == []
    place.control.forget_requests()
    assert place.deploy() == made
    assert place.writes() == []


def test_only_the_chat_waits_for_its_database():
    graph = json.loads((PROJECT / "tests/unit/asset_graph_azure_chat.json").read_text(encoding="utf-8"))["assets"]
    waiting = {"chat_database", "chat_environment"}
    while more := {name for name, asset in graph.items() if waiting & set(asset["upstream"])} - waiting:
        waiting |= more

    assert waiting == {"chat_database", "chat_environment", "chat_app"}
