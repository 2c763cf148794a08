"""The endpoint with its real server image and a small model, queried by third-party clients."""

from collections.abc import Iterator
from importlib import metadata

import openai
import pytest

from azure_emulator.control import Control
from phi_assets import endpoint_client
from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.infrastructure import training_environment
from phi_assets.backends.azure.serving import image
from phi_assets.backends.azure.storage import blob
from phi_assets.lock_files import pins
from phi_assets.records import RegisteredModel
from tests.support.azure_endpoint import Stage, asked_all_the_time, hurry
from tests.support.azure_jobs import MARKS
from tests.support.azure_place import Place, local_azure_at
from tests.unit.serving_code.conftest import write_model

pytestmark = MARKS
PLANTED = "planted-key-that-must-not-be-seen"


@pytest.fixture(scope="module")
def control(tmp_path_factory) -> Iterator[Control]:
    with pytest.MonkeyPatch.context() as patched, local_azure_at(tmp_path_factory.mktemp("azure")) as found:
        hurry(patched, quick_server=False)
        credential.forget()
        yield found


@pytest.fixture(scope="module")
def stage(control: Control, tmp_path_factory) -> Stage:
    made = Stage(Place(control, tmp_path_factory.mktemp("home")))
    made.place.deploy()
    made.host().ensure_endpoint(made.place.log)
    control.rotate_keys(made.endpoint.name, primary=PLANTED)
    made.host().deploy(a_tiny_model(made, "first"), made.place.log)
    return made


def a_tiny_model(stage: Stage, name: str) -> RegisteredModel:
    """A model that can be loaded and answers in no time, as the registry's next version."""
    folder = write_model(stage.place.home / name, scale=15.0)
    blobs = blob.WorkspaceBlobs(stage.place.clients, stage.place.log, 0.5)
    blobs.upload(folder, f"phi/training/{name}/model/")
    return stage.register(name, f"phi/training/{name}/model")


@pytest.mark.long
@pytest.mark.guide("endpoint")
def test_a_new_model_takes_over_under_twenty_questions_a_second_and_all_are_answered_right(stage: Stage):
    old = stage.serving()[0]
    right = content(stage.ask())
    model = a_tiny_model(stage, "second")
    with asked_all_the_time(stage, a_second=20) as answers:
        record = stage.host(canary_minutes=0.05, drain_seconds=2.0).deploy(model, stage.place.log)
    assert stage.serving() == (record.name, model.version)
    assert {answer.status_code for answer in answers} == {200}
    # Both are made of the same seed, so that whoever answers must say the same.
    assert {content(answer) for answer in answers} == {right}
    assert {answer.headers["azureml-model-deployment"] for answer in answers} == {old, record.name}
    stage.whole()
    assert PLANTED not in "\n".join(stage.place.said) + record.to_json() + str(stage.host().status())


def content(answer) -> str:
    return answer.json()["choices"][0]["message"]["content"]


def test_openai_client_is_answered_whole_and_streamed(stage: Stage):
    state = stage.endpoint.read()
    assert state is not None
    with openai.OpenAI(base_url=f"{state.address}/v1", api_key=stage.host().key(), max_retries=0) as client:
        [model] = client.models.list().data
        asked = {"model": model.id, "temperature": 0, "max_completion_tokens": 8}
        messages = [{"role": "user", "content": "Hello"}]
        whole = client.chat.completions.create(messages=messages, **asked)
        with client.chat.completions.create(messages=messages, stream=True, **asked) as stream:
            pieces = [choice.delta.content or "" for chunk in stream for choice in chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert whole.system_fingerprint == f"{stage.serving()[0]}/phi-chat:{stage.serving()[1]}"


@pytest.mark.guide("integrate")
@pytest.mark.parametrize("text", ["Hello", ""])
def test_the_guides_own_route_answers_or_says_what_is_wrong_with_the_question(stage: Stage, text):
    state = stage.endpoint.read()
    assert state is not None
    if text:
        assert endpoint_client.score(state.address, stage.host().key(), text).deployment == stage.serving()[0]
        return
    # Azure answers 424 for it; the container's own status and words are what the caller is told.
    with pytest.raises(endpoint_client.NoAnswer, match=r"answered 422: .*neither a text nor a conversation") as refused:
        endpoint_client.score(state.address, stage.host().key(), text)
    assert refused.value.status == 422


def test_a_full_house_is_asked_again_a_few_times(stage: Stage, monkeypatch):
    state = stage.endpoint.read()
    assert state is not None
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT", 0.01)
    for fault, told in (("429", "answered 429"), ("503", "answered 503")):
        stage.control.fail_next(f"POST scoring {stage.endpoint.name}", fault, times=endpoint_client.TRIES)
        with pytest.raises(endpoint_client.NoAnswer, match=told):
            endpoint_client.chat(state.address, stage.host().key(), [{"role": "user", "content": "Hello"}])
        stage.control.fail_next(f"POST scoring {stage.endpoint.name}", fault, times=2)
        assert endpoint_client.chat(state.address, stage.host().key(), [{"role": "user", "content": "Hello"}]).text


def test_each_package_of_the_image_has_the_version_of_the_lock():
    locked = pins(image.CODE.parent / "requirements" / "lock.txt", training_environment.IMAGE)
    asked = pins(image.FOLDER / "requirements.txt")
    shared = locked.keys() & asked.keys()
    assert {name: locked[name] for name in shared} == {name: asked[name] for name in shared}
    only_here = {name for name in asked if name not in locked}  # torch's build is not in the lock of a machine
    assert all(name == "torch" or name.startswith(("nvidia-", "cuda-", "triton")) for name in only_here), only_here
    assert asked["torch"] == metadata.version("torch").partition("+")[0]
    assert {"torch", "transformers", "safetensors", "starlette", "uvicorn", "jinja2", "pydantic"} <= set(asked)
