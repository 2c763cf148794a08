"""The endpoint's connection on Azure: the same in the workspace and in the home, and its key nowhere else."""

import json
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._utils.error import serializable_error_info_from_exc_info

from azure_emulator.control import Control
from azure_emulator.identity.identities import USER
from phi_assets.backends.azure.chat import connection_store
from phi_assets.backends.azure.chat.connection_store import AzureConnectionStore, WorkspaceConnection
from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.client.azure_errors import AzureRefused, GaveUp
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.ports.chat import ConnectionStore
from phi_assets.prompt_flow.connections import CONNECTION, LocalConnections, StoredConnection, fingerprint
from phi_assets.prompt_flow.environment import prompt_flow_environment
from phi_assets.records import Connection, Endpoint
from tests.support.azure_endpoint import Stage, hurry
from tests.support.azure_jobs import MARKS
from tests.support.azure_place import Place, local_azure_at

pytestmark = MARKS
KEY = "a-canary-key-0123456789-abcdefghijklmnop"


@pytest.fixture(scope="module")
def control(tmp_path_factory) -> Iterator[Control]:
    with pytest.MonkeyPatch.context() as patched, local_azure_at(tmp_path_factory.mktemp("azure")) as found:
        hurry(patched)
        found.hold_seconds(0.2)
        credential.forget()
        yield found


@pytest.fixture(scope="module")
def stage(control: Control, tmp_path_factory) -> Stage:
    made = Stage(Place(control, tmp_path_factory.mktemp("home")))
    made.place.deploy()
    made.host().ensure_endpoint(made.place.log)
    return made


@pytest.fixture
def endpoint(stage: Stage) -> Iterator[Endpoint]:
    """The endpoint with the planted key."""
    stage.control.rotate_keys(stage.endpoint.name, KEY)
    yield stage.host().ensure_endpoint(stage.place.log)
    stage.control.clear_faults()


@pytest.fixture
def store(stage: Stage) -> AzureConnectionStore:
    account = stage.place.clients.account
    return AzureConnectionStore(account=account.fields, state=str(account.folder), role_minutes=0.02)


def in_workspace(stage: Stage) -> str:
    return f"{stage.place.id('ml_workspace')}/connections/{CONNECTION}"


def read_by_prompt_flow(stage: Stage) -> Any:
    """The workspace's connection as Prompt flow's own provider gives it to a flow that runs on Azure.

    The runtime there has azure-ai-ml, which the environment here does without: it is taken from this process's, after
    Prompt flow was imported with its own packages.
    """
    workspace = stage.place.id("ml_workspace").split("/")
    program = (
        "import json, sys\n"
        "from azure.identity import AzureCliCredential\n"
        "from promptflow.core._connection_provider._workspace_connection_provider import *\n"
        f"sys.path.append({sysconfig.get_path('purelib')!r})\n"
        "provider = WorkspaceConnectionProvider(*sys.argv[1:4], credential=AzureCliCredential())\n"
        "found = provider.get(sys.argv[4])\n"
        "print(json.dumps([type(found).__name__, dict(found.configs), dict(found.secrets)]))\n"
    )
    done = subprocess.run(
        ["python", "-c", program, workspace[2], workspace[4], workspace[8], CONNECTION],
        env=prompt_flow_environment(stage.place.clients.account.folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.guide("connection")
def test_both_connections_say_what_the_endpoint_says_and_prompt_flow_reads_the_one_in_the_workspace(
    stage: Stage, endpoint: Endpoint, store: AzureConnectionStore
):
    made = store.connect(endpoint, KEY)
    assert store.find(made.digest) == made == Connection(digest=made.digest, name=CONNECTION, address=endpoint.address)
    assert read_by_prompt_flow(stage) == [
        "CustomConnection",
        {"address": endpoint.address, "auth": "key"},
        {"key": KEY},
    ]
    shown = stage.control.resource(in_workspace(stage))
    assert shown is not None
    assert (shown["properties"]["category"], shown["properties"]["target"]) == ("CustomKeys", endpoint.address)
    home = LocalConnections(stage.place.clients.account.folder).find(CONNECTION)
    assert home is not None
    assert home.digest == made.digest


def test_connecting_again_writes_nothing(stage: Stage, endpoint: Endpoint, store: AzureConnectionStore):
    made = store.connect(endpoint, KEY)
    database = stage.place.clients.account.folder / "prompt_flow" / "pf.sqlite"
    before = database.stat().st_mtime_ns
    stage.control.forget_requests()

    assert store.connect(endpoint, KEY) == made

    assert stage.place.writes() == []
    assert database.stat().st_mtime_ns == before


@pytest.mark.guide("connection")
def test_after_a_key_rotation_the_connection_is_stale_and_the_next_run_repairs_both(
    stage: Stage, endpoint: Endpoint, store: AzureConnectionStore
):
    made = store.connect(endpoint, KEY)
    stage.control.rotate_keys(stage.endpoint.name, "another-key-0123456789-abcdefghijklmnop")
    assert store.find(made.digest) is None
    assert store.missing_reason(made.digest) == "the endpoint's key was changed"

    repaired = store.connect(endpoint, stage.host().key())

    assert repaired.digest != made.digest
    assert store.find(repaired.digest) == repaired
    kept = WorkspaceConnection(stage.place.clients, CONNECTION).read()
    assert kept is not None
    assert kept.key_fingerprint == fingerprint("another-key-0123456789-abcdefghijklmnop")


def drop_from_workspace(stage: Stage) -> None:
    stage.control.delete(in_workspace(stage))


def change_in_workspace(stage: Stage) -> None:
    stage.control.change(in_workspace(stage), metadata={"address": "https://elsewhere.example"})


def change_in_home(stage: Stage) -> None:
    LocalConnections(stage.place.clients.account.folder).ensure(CONNECTION, "https://elsewhere.example", KEY)


def test_a_home_without_the_connection_gets_it_when_it_is_used(
    stage: Stage, endpoint: Endpoint, store: AzureConnectionStore, tmp_path
):
    made = store.connect(endpoint, KEY)
    elsewhere = AzureConnectionStore(account=store.account, state=str(tmp_path / "state"))
    assert elsewhere.find(made.digest) == made
    stage.control.forget_requests()

    elsewhere.copy_to_home(stage.place.log)

    stored = LocalConnections(tmp_path / "state").find(CONNECTION)
    assert stored is not None
    assert stored.digest == made.digest
    assert stage.control.requests(writes_only=True, service="ml") == []
    elsewhere.copy_to_home(pytest.fail)  # nothing to install or to write


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (drop_from_workspace, "the workspace has no connection phi_endpoint"),
        (change_in_workspace, "the workspace has no connection phi_endpoint that Prompt flow can use"),
        (change_in_home, "this home's connection phi_endpoint has another address or key"),
    ],
)
def test_a_lost_or_changed_connection_is_seen_and_mended(
    stage: Stage, endpoint: Endpoint, store: AzureConnectionStore, damage: Any, reason: str
):
    made = store.connect(endpoint, KEY)
    damage(stage)
    assert store.find(made.digest) is None
    assert reason in store.missing_reason(made.digest)
    assert store.connect(endpoint, KEY) == made
    assert store.find(made.digest) == made


def test_with_entra_tokens_nothing_is_stored_that_opens_anything(
    stage: Stage, endpoint: Endpoint, store: AzureConnectionStore
):
    token = stage.host(auth="aad_token").key()
    made = store.connect(replace(endpoint, auth="aad_token"), token)
    assert store.find(made.digest) == made
    assert read_by_prompt_flow(stage)[1:] == [{"address": endpoint.address, "auth": "aad_token"}, {"key": "none"}]
    assert found_in(stage.place.home, token) == []


@pytest.mark.parametrize("fault", ["429", pytest.param("503", marks=pytest.mark.long), "timeout", "dropped"])
def test_a_lost_answer_or_a_busy_azure_ends_in_one_connection(stage: Stage, endpoint: Endpoint, fault: Any):
    wanted = StoredConnection(CONNECTION, endpoint.address, "key", fingerprint(KEY))
    connection = WorkspaceConnection(stage.place.clients, CONNECTION)
    stage.control.delete(in_workspace(stage))
    # More often than the SDK asks again by itself.
    stage.control.fail_next("PUT /connections/", fault, times=4)

    connection.ensure(wanted, KEY, 0.02, stage.place.log)

    assert connection.read() == wanted
    stage.control.forget_requests()
    connection.ensure(wanted, KEY, 0.02, stage.place.log)
    assert stage.place.writes() == []


def test_who_may_not_see_the_secret_is_told_which_right_is_missing(
    stage: Stage, endpoint: Endpoint, store: AzureConnectionStore
):
    taken = [role for role in stage.control.roles(USER) if "connections" not in role["scope"]]
    for role in taken:
        stage.control.take_role(role["id"])
    reader = stage.control.give_role(role="Reader")
    try:
        for call in (lambda: store.find("0" * 64), lambda: store.connect(endpoint, KEY)):
            with pytest.raises(AzureRefused) as refused:
                call()
            assert "connections/listsecrets/action" in str(refused.value.description)
    finally:
        stage.control.take_role(reader)
        for role in taken:
            stage.control.give_role(oid=role["oid"], role=role["role"], scope=role["scope"])


class PlantedHost(dg.ConfigurableResource):
    """Gives the planted key; nothing else of it is used."""

    name: str = "planted"

    def key(self) -> str:
        return KEY


@pytest.mark.guide("connection")
@pytest.mark.parametrize("fails", [False, True])
def test_the_key_is_found_nowhere_but_in_the_connection_stores(
    stage: Stage, endpoint: Endpoint, store: AzureConnectionStore, tmp_path: Path, capfd, fails: bool
):
    from phi_assets.defs.chat.assets import endpoint_connection

    @dg.asset
    def online_endpoint() -> Endpoint:
        return endpoint

    stage.control.delete(in_workspace(stage))
    if fails:
        store = AzureConnectionStore(account=store.account, state=str(tmp_path / "not a folder"), role_minutes=0.02)
        (tmp_path / "not a folder").write_text("here is a file")
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        result = dg.materialize(
            [online_endpoint, endpoint_connection],
            instance=instance,
            resources={
                "io_manager": RecordIOManager(folder=str(tmp_path / "records")),
                "endpoint_host": dg.ResourceDefinition.hardcoded_resource(PlantedHost()),
                "connection_store": store,
            },
            raise_on_error=False,
        )
        assert result.success is not fails
        events = [entry.to_json() for entry in instance.all_logs(result.run_id)]
    said = capfd.readouterr()

    kept = WorkspaceConnection(stage.place.clients, CONNECTION).read()
    assert kept is not None
    assert kept.key_fingerprint == fingerprint(KEY)
    assert found_in(tmp_path, KEY) == found_in(stage.place.home, KEY) == []
    assert KEY not in json.dumps([events, stage.control.requests(), stage.place.said, said.out, said.err])
    assert found_in(stage.control.state / "server.log", KEY) == []


@pytest.mark.parametrize("kind", [AzureRefused, GaveUp])
def test_a_refusal_that_quotes_the_key_is_passed_on_without_it(
    stage: Stage, endpoint: Endpoint, store: AzureConnectionStore, monkeypatch, kind
):
    def quoting(*_: object) -> None:
        raise kind(description=f"refused: {KEY}, none of it", allow_retries=False) from ValueError(KEY)

    monkeypatch.setattr(connection_store, "wait_for_role", quoting)
    with pytest.raises(kind, match=r"refused: \*\*\*, none of it") as refused:
        store.connect(endpoint, KEY)
    told = serializable_error_info_from_exc_info((refused.type, refused.value, refused.tb))
    assert KEY not in f"{told}{told.cause}{told.context}"
    with pytest.raises(kind, match="none of it"):
        store.connect(replace(endpoint, auth="aad_token"), "a-token")


def found_in(place: Path, text: str) -> list[Path]:
    files = [path for path in (place.rglob("*") if place.is_dir() else [place]) if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]


def test_the_store_is_a_connection_store(store: AzureConnectionStore):
    assert isinstance(store, ConnectionStore)
