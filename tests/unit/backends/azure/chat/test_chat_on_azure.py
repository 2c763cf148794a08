"""The chat flow, Prompt flow's server, OpenAI's client and `phi ask`, at the endpoint's address on the local Azure.

Behind it is the real server with a tiny model.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import httpx
import openai
import pytest

from azure_emulator.control import Control
from azure_emulator.identity.identities import USER
from phi_assets import endpoint_client
from phi_assets.backends.azure.chat.connection_store import AzureConnectionStore
from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.evaluation.registry import MODEL_NAME
from phi_assets.backends.azure.resources import SIGN_IN
from phi_assets.backends.azure.storage import blob
from phi_assets.backends.flow_store import PromptFlowStore
from phi_assets.cli import ask
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.prompt_flow.child_process import PromptFlowFailed
from phi_assets.prompt_flow.environment import prompt_flow_environment
from phi_assets.prompt_flow.trial import try_flow
from phi_assets.records import Connection, Deployment, FlowPackage
from tests.support.azure_endpoint import Stage, hurry
from tests.support.azure_jobs import MARKS
from tests.support.azure_place import Place, local_azure_at
from tests.support.server_process import free_port, running
from tests.support.tiny_models import make_tiny_phi3

pytestmark = MARKS
QUESTION = "Who founded Microsoft?"
TOKENS = 64  # as in the flow's evaluation


@pytest.fixture(scope="module")
def control(tmp_path_factory) -> Iterator[Control]:
    with pytest.MonkeyPatch.context() as patched, local_azure_at(tmp_path_factory.mktemp("azure")) as found:
        hurry(patched, quick_server=False)
        credential.forget()
        yield found


class Chat(Stage):
    """An endpoint that answers, and a home that is connected with it."""

    @property
    def state(self) -> Path:
        return self.place.clients.account.folder

    @property
    def flows(self) -> PromptFlowStore:
        return PromptFlowStore(state=str(self.state), concurrency=2, sign_in=SIGN_IN, signs_in=True)

    def right(self, question: str = QUESTION) -> str:
        """What the model answers, asked straight."""
        state, messages = self.endpoint.read(), [{"role": "user", "content": question}]
        assert state
        return endpoint_client.chat(state.address, self.host().key(), messages, max_new_tokens=TOKENS).text

    @property
    def environment(self) -> dict[str, str]:
        return prompt_flow_environment(self.state, signs_in=True)

    def connect(self, auth: str = "key") -> Connection:
        host = self.host(auth=auth)
        store = AzureConnectionStore(account=self.place.clients.account.fields, state=str(self.state))
        return store.connect(host.ensure_endpoint(self.place.log), host.key())


@pytest.fixture(scope="module")
def chat(control: Control, tmp_path_factory) -> Chat:
    made = Chat(Place(control, tmp_path_factory.mktemp("home")))
    made.place.deploy()
    made.host().ensure_endpoint(made.place.log)
    return made


def talkative(model: Path) -> Path:
    """The model says a token further on in its vocabulary than the last one: a random one would say empty lines."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    weights["lm_head.weight"] = torch.roll(weights["model.embed_tokens.weight"], 7, dims=0)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    return model


@pytest.fixture(scope="module")
def deployment(chat: Chat, tmp_path_factory) -> Deployment:
    chat.control.container_patience(120)
    path = "phi/training/tiny/model"
    model = talkative(make_tiny_phi3(tmp_path_factory.mktemp("model")))
    blob.WorkspaceBlobs(chat.place.clients, chat.place.log, 0.5).upload(model, f"{path}/")
    return chat.host().deploy(chat.register("tiny", path), chat.place.log)


@pytest.fixture(scope="module")
def package(chat: Chat, deployment: Deployment) -> FlowPackage:
    """The flow as it is published: after it answered through Azure's address."""
    return chat.flows.package(chat.connect(), chat.place.log)


@pytest.mark.long
@pytest.mark.guide("flow-dag")
def test_the_flow_and_its_evaluation_run_unchanged_against_azures_address(
    chat: Chat, deployment: Deployment, package: FlowPackage, tmp_path: Path
):
    rows = [
        ([{"role": "user", "content": QUESTION}], [chat.right()]),
        ([{"role": "user", "content": "And who else?"}], ["x"]),
    ]
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps({"messages": m, "answers": a}) + "\n" for m, a in rows), encoding="utf-8")

    evaluation = chat.flows.evaluate(package, deployment, questions, chat.place.log)

    assert (evaluation.questions, evaluation.share_right) == (2, 0.5)
    found = [json.loads(line) for line in (Path(evaluation.address) / "rows.jsonl").read_text().splitlines()]
    assert [row["error"] for row in found] == [None, None]
    assert found[0]["served_by"]["deployment"] == deployment.name
    assert (found[0]["served_by"]["model"], found[0]["served_by"]["model_version"]) == (MODEL_NAME, "1")
    assert chat.flows.find(package.digest) == package


@pytest.mark.guide("flow-serve")
def test_pf_flow_serve_answers_from_azures_address_and_asks_again_while_it_is_busy(
    chat: Chat, deployment: Deployment, package: FlowPackage
):
    port, asked = free_port(), {"question": QUESTION, "max_tokens": TOKENS}
    command = ["pf", "flow", "serve", "--source", package.address, "--port", str(port), "--host", "127.0.0.1"]
    with running([*command, "--skip-open-browser"], chat.environment, f"http://127.0.0.1:{port}/health"):
        chat.control.fail_next("POST scoring /v1/chat/completions", "429")  # asked again
        answered = httpx.post(f"http://127.0.0.1:{port}/score", json=asked, timeout=60)
    assert answered.status_code == 200, answered.text
    assert answered.json()["answer"] == chat.right()
    assert answered.json()["served_by"]["deployment"] == deployment.name


def test_openais_client_answers_from_azures_address(chat: Chat, deployment: Deployment):
    state = chat.endpoint.read()
    assert state
    with openai.OpenAI(base_url=f"{state.address}/v1", api_key=chat.host().key(), max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(
            model=MODEL_NAME, messages=[{"role": "user", "content": QUESTION}], max_tokens=TOKENS, temperature=0
        )
        assert raw.headers["azureml-model-deployment"] == deployment.name
        text = raw.parse().choices[0].message.content
    assert text == chat.right()


def test_phi_ask_says_which_deployment_and_model_version_answered(chat: Chat, deployment: Deployment):
    @dg.asset
    def online_deployment() -> Deployment:
        return deployment

    records = RecordIOManager(folder=str(chat.place.settings.state / "records"))
    assert dg.materialize([online_deployment], resources={"io_manager": records}).success

    answer = ask.ask_deployed(chat.place.settings, QUESTION)

    assert answer["answer"].startswith(chat.right())
    assert (answer["deployment"], answer["model"], answer["model_version"]) == (deployment.name, MODEL_NAME, "1")
    assert answer["dataset_digest"] == deployment.dataset_digest


def test_after_a_key_rotation_the_flow_says_to_connect_again_and_then_answers(chat: Chat, package: FlowPackage):
    chat.control.rotate_keys(chat.endpoint.name)
    with pytest.raises(PromptFlowFailed, match=r"answered 401: .*materialise endpoint_connection again"):
        try_flow(Path(package.address), chat.environment, {"question": QUESTION})
    chat.connect()
    assert try_flow(Path(package.address), chat.environment, {"question": QUESTION})["answer"]


def test_with_entra_tokens_the_flow_answers_as_whoever_runs_it_and_says_which_role_is_missing(
    chat: Chat, deployment: Deployment, package: FlowPackage
):
    connection = chat.connect("aad_token")
    keyless = chat.flows.package(connection, chat.place.log)
    assert keyless.digest == package.digest
    taken = chat.control.roles(USER)
    for role in taken:
        chat.control.take_role(role["id"])
    try:
        with pytest.raises(
            PromptFlowFailed, match=r"answered 401: .*role that may score, such as AzureML Data Scientist"
        ):
            try_flow(Path(package.address), chat.environment, {"question": QUESTION})
    finally:
        for role in taken:
            chat.control.give_role(oid=role["oid"], role=role["role"], scope=role["scope"])
